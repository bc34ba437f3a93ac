"""Revision 0008, ids and keys: given ids stay, only a dedupe key is silent. Frozen once released: add, never edit."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
