"""Revision 0008, times that every reader can read. Frozen once released: never edit, add one.

The years 1 to 9999, and a day less at either end, so that it is the same in every zone. Those of a message are among
its limits (``r0008_limits.py``), a person's pauses and rates are bounded where they are recorded (``r0008_ledger.py``);
here are pauses that are there already, and what has expired when a call is to be made.
"""

from __future__ import annotations

from relay.revisions import r0007_orders
from relay.revisions.r0008_limits import END, FIRST

# A pause without an end is null; the table is small, so what is there is made so at once. A check, for workers write
# pauses too.
PAUSES = (
    f"update {{schema}}.pause set until = null where until >= {END}",  # noqa: S608 our own texts
    f"delete from {{schema}}.pause where until < {FIRST}",  # noqa: S608 our own texts
    f"alter table {{schema}}.pause add constraint pause_until_finite check (until >= {FIRST} and until < {END})",
)

# What has expired by now goes out of an open call before it is made, so that positions stay those that were sent. The
# worker says which call is its own, by its nonce; it has no right to change what a call names in any other way. Every
# worker reads every nonce, so the login that asks has to be the one that made the call: an answer that is on its way to
# somebody else maps by positions that must not move. A call of before this revision has no login; a worker of this
# version asks about none that it has not just made, so nobody needs it for those.
CALLS = (
    r"""
    create function {schema}.leave_out_expired(open_call bigint, its_nonce bigint) returns bigint[] language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        named bigint[];
        left_in bigint[];
    begin
        select c.message_ids into named from call c
        where c.id = open_call and c.nonce = its_nonce and c.settled_at is null and c.created_by = session_user
        for update;
        left_in := array(
            select o.id from unnest(named) with ordinality as m (id, position) join outbox o on o.id = m.id
            where o.deliver_before is null or o.deliver_before > clock_timestamp()
            order by m.position);
        if cardinality(left_in) > 0 and left_in <> named then
            update call c set message_ids = left_in where c.id = open_call and c.nonce = its_nonce;
        end if;
        return left_in;
    end
    $body$
    """,
    "revoke execute on function {schema}.leave_out_expired(bigint, bigint) from public",
)

UPGRADE: tuple[str, ...] = (*PAUSES, *CALLS)

_BEFORE = tuple(
    text.replace("create function", "create or replace function")
    for text in r0007_orders.UPGRADE
    if "create function {schema}.retry(" in text or "create function {schema}.pause_scope(" in text
)

DOWNGRADE: tuple[str, ...] = (
    "drop function {schema}.leave_out_expired(bigint, bigint)",
    *_BEFORE,
    "alter table {schema}.pause drop constraint pause_until_finite",
)
