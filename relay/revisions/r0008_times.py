"""Revision 0008, times that every reader can read. Frozen once released: never edit, add one."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
