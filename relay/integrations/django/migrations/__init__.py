"""Django's migrations of the relay: each brings the tables to a revision, and tells which models look at them."""
