"""Revision 0008, what an owner without a superuser may run. Frozen once released: never edit, add one."""

from __future__ import annotations

UPGRADE: tuple[str, ...] = ()

DOWNGRADE: tuple[str, ...] = ()
