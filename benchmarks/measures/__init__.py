"""One module for each question; each has ``measure(ground, effort)`` and gives tables as they are done."""
