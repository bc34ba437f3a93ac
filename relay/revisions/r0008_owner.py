"""Revision 0008, what an owner without a superuser may run. Frozen once released: never edit, add one.

Databases that came to 0006 with its first text have two functions that only a superuser can define, so that nobody
else could restore a dump of them. Here they get the text that 0006 has now; where they have it, nothing changes.
Taking this back leaves it: what 0006 makes is the same.
"""

from __future__ import annotations

from relay.revisions import r0006_functions

UPGRADE: tuple[str, ...] = tuple(
    text.replace("create function", "create or replace function") for text in r0006_functions.MOVERS
)

DOWNGRADE: tuple[str, ...] = ()
