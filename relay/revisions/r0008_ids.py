"""Revision 0008, ids and keys: given ones stay, and only a dedupe key is silent. Frozen once released: never edit, add one."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
