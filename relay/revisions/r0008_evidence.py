"""Revision 0008, hashes that give nothing away, and dedupe keys that are remembered. Frozen once released: never edit, add one."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
