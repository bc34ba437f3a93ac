"""Revision 0005: open calls by id. Frozen: never edit, add one.

Calls are settled roughly in the order of their ids, so what the index still holds of settled calls (as long as some old
snapshot keeps them) lies before the first open one, where a claim need not look. And a lease that is extended changes
no index any more.
"""

from __future__ import annotations

REVISION = "0005"
DOWN_REVISION: str | None = "0004"

UPGRADE = (
    "drop index {schema}.call_open",
    r"""
    create index call_open on {schema}.call (id) where settled_at is null
    """,
)

DOWNGRADE = (
    "drop index {schema}.call_open",
    r"""
    create index call_open on {schema}.call (lease_until, id) where settled_at is null
    """,
)
