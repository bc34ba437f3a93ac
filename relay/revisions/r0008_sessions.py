"""Revision 0008, functions that run the same in anybody's session. Frozen once released: never edit, add one."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
