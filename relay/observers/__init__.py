"""Who listens to ``events.py``: one file a listener. Observers may fail, delivery may not."""
