"""Revision 0008: at home where users live. Frozen once released: never edit, add one.

An owner who is no superuser, settings that somebody put on a role, a database that went back in time, dates beyond
what a reader can read: the tables and functions no longer depend on any of it. The texts are in the modules beside
this one.
"""

from __future__ import annotations

from relay.revisions import (
    r0008_archiving,
    r0008_calls,
    r0008_catching_up,
    r0008_dedupe,
    r0008_evidence,
    r0008_final,
    r0008_forgetting,
    r0008_ids,
    r0008_inserts,
    r0008_ledger,
    r0008_limits,
    r0008_locks,
    r0008_lookups,
    r0008_masking,
    r0008_naming,
    r0008_orders,
    r0008_pace,
    r0008_reading,
    r0008_removal,
    r0008_sessions,
    r0008_times,
    r0008_types,
    r0008_words,
)

REVISION = "0008"
DOWN_REVISION: str | None = "0007"

_PARTS = (
    r0008_ids,
    r0008_calls,
    r0008_naming,
    r0008_times,
    r0008_final,
    r0008_words,
    r0008_pace,
    r0008_ledger,
    r0008_orders,
    r0008_evidence,
    r0008_dedupe,
    r0008_forgetting,
    r0008_catching_up,
    r0008_lookups,
    r0008_limits,
    r0008_inserts,
    r0008_masking,
    r0008_reading,
    r0008_locks,
    r0008_archiving,
    r0008_removal,
    r0008_types,  # behind all that makes tables or views
    r0008_sessions,
)

UPGRADE: tuple[str, ...] = tuple(statement for part in _PARTS for statement in part.UPGRADE)

DOWNGRADE: tuple[str, ...] = tuple(statement for part in reversed(_PARTS) for statement in part.DOWNGRADE)
