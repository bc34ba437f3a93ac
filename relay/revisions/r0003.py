"""Revision 0003: an insert wakes a relay that sleeps, and costs next to nothing while none does. Frozen."""

from __future__ import annotations

REVISION = "0003"
DOWN_REVISION: str | None = "0002"

UPGRADE = (
    # NOTIFY at every insert would halve concurrent inserts: it takes a global lock at commit. So it is gated: a relay
    # holds lock 256 (the buckets of revision 0002 are 0 to 255) exclusively while it sleeps, and only then does the
    # shared lock fail and an insert notifies. A relay that cannot get the lock, because somebody is inserting, looks
    # again soon instead of sleeping; so no message is missed.
    r"""
    create function {schema}.wake() returns trigger language plpgsql as $body$
    begin
        if not pg_try_advisory_xact_lock_shared(cast(tg_relid as integer), 256) then
            perform pg_notify('relay_' || tg_relid, '');
        end if;
        return null;
    end
    $body$
    """,
    r"""
    create trigger outbox_wakes
        after insert on {schema}.outbox
        for each statement execute function {schema}.wake()
    """,
)

DOWNGRADE = (
    "drop trigger outbox_wakes on {schema}.outbox",
    "drop function {schema}.wake()",
)
