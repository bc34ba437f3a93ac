"""Revision 0008, times that every reader can read. Frozen once released: never edit, add one.

The years 1 to 9999, and a day less at either end, so that it is the same in every zone. Those of a message are among
its limits (``r0008_limits.py``); here are those of pauses and rates, and what has expired when a call is to be made.
"""

from __future__ import annotations

from relay.revisions import r0007_orders

# A pause without an end is null; the table is small, so what is there is made so at once.
PAUSES = (
    "update {schema}.pause set until = null where until = 'infinity'",
    "delete from {schema}.pause where until = '-infinity'",
    r"""
    alter table {schema}.pause add constraint pause_until_finite check (until > '-infinity' and until < 'infinity')
    """,
    r"""
    create or replace function {schema}.pause_scope(
        scope text, until timestamptz, reason text, actor text, selection json
    ) returns bigint language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if until = 'infinity' then
            until := null;
        end if;
        if until < now() or until >= timestamp '9999-12-31' at time zone 'UTC' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'a pause must end between now and the year 9999',
                hint = 'null: until somebody resumes it.';
        end if;
        insert into pause (scope, until, reason, by) values (scope, until, reason, actor)
        on conflict on constraint pause_pkey do update set until = excluded.until, reason = excluded.reason,
            error_code = null, credential = null, since = excluded.since, by = excluded.by;
        return record_action('pause', actor, reason, selection, null, 0);
    end
    $body$
    """,
)

# A rate that is no number, or so low that the last message would be due in more than a hundred years.
RETRY = (
    r"""
    create or replace function {schema}.retry(
        ids bigint[], reason text, actor text, selection json, per_second double precision,
        out changed bigint[], out left_alone bigint[], out why_not text[], out action bigint
    ) language plpgsql security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    begin
        if per_second <= 0 or per_second >= 'infinity' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'per_second must be a number and more than 0';
        end if;
        if per_second * 3155760000.0 < cardinality(ids) then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'with so low a per_second the last message would be due in more than a hundred years';
        end if;
        select m.chosen, m.left_alone, m.why_not into changed, left_alone, why_not
        from lock_messages('retry', ids) as m;
        if changed = '{}' then
            return;
        end if;
        update outbox o set status = 'pending', attempts = 0, call_id = null, result_index = null, finished_at = null,
            available_at = now() + make_interval(secs => coalesce((named.position - 1) / per_second, 0))
        from unnest(changed) with ordinality as named (id, position)
        where o.id = named.id;
        action := record_action('retry', actor, reason, selection, changed, cardinality(changed));
    end
    $body$
    """,
)

# What has expired by now goes out of an open call before it is made, so that positions stay those that were sent. The
# worker says which call is its own, by its nonce; it has no right to change what a call names in any other way.
CALLS = (
    r"""
    create function {schema}.leave_out_expired(open_call bigint, its_nonce bigint) returns bigint[] language plpgsql
        security definer set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        named bigint[];
        left_in bigint[];
    begin
        select c.message_ids into named from call c
        where c.id = open_call and c.nonce = its_nonce and c.settled_at is null
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

UPGRADE: tuple[str, ...] = (*PAUSES, *RETRY, *CALLS)

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
