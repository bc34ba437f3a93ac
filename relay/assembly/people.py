"""Who sits at this machine, as the operating system knows it: for the ledger, where nobody says another name."""

from __future__ import annotations

import getpass
import os
import socket


def user_at_host() -> str:
    """``ann@host``; in a container whose user has no name its number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
