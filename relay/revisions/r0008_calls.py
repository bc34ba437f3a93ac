"""Revision 0008, calls that a reused id cannot be taken for. Frozen once released: never edit, add one."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
