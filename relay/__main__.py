"""``python -m relay``: the command line where the script ``relay`` is not on the path."""

from __future__ import annotations

from relay.cli import main

if __name__ == "__main__":
    main()
