"""Revision 0008, locks that need rights, and reading without rights on tables. Frozen once released."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
