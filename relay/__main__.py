"""``python -m relay``: the command line."""

from relay.cli import main

main()
