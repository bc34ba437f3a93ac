"""Revision 0008, hashes that give nothing away, dedupe keys that are remembered. Frozen once released."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
