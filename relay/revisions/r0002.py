"""Revision 0002: order of messages that are still being written, a pace for the fleet, blocked keys. Frozen."""

from __future__ import annotations

REVISION = "0002"
DOWN_REVISION: str | None = "0001"

UPGRADE = (
    # Ids are given in the order of inserts, but transactions commit in any order. So that a later id of an ordering key
    # is never sent while an earlier one is still being written, an insert with a key holds a shared lock on one of 256
    # buckets until its transaction ends, and takes its id under that lock; the claim leaves a bucket alone while
    # anybody holds it. Inserts never wait for each other. Security definer, because whoever may insert need not have
    # rights on the sequence.
    r"""
    create function {schema}.keep_order() returns trigger language plpgsql
        security definer set search_path = pg_catalog, pg_temp as $body$
    begin
        perform pg_advisory_xact_lock_shared(
            cast(tg_relid as integer), (hashtext(new.account) # hashtext(new.ordering_key)) & 255);
        new.id := nextval(cast(tg_argv[0] as regclass));
        return new;
    end
    $body$
    """,
    r"""
    create trigger outbox_keeps_order
        before insert on {schema}.outbox
        for each row when (new.ordering_key is not null)
        execute function {schema}.keep_order('{schema}.outbox_id_seq')
    """,
    # A message that failed for good may hold its ordering key (a setting of the relay).
    r"""
    create index outbox_failed_heads on {schema}.outbox (account, ordering_key, id)
        where status = 'failed' and ordering_key is not null
    """,
    # One row for each app key: when the next call may be made, if calls are limited at all.
    r"""
    create table {schema}.pace (
        app_key text not null,
        next_at timestamptz not null,
        constraint pace_pkey primary key (app_key)
    ) with (fillfactor = 50)
    """,
    r"""
    create view {schema}.blocked_keys as
    select head.account, head.ordering_key, head.id as head_id, head.available_at, head.attempts,
        head.error_code, head.error_message,
        now() - head.created_at as age,
        (select count(*) from {schema}.outbox o
         where o.status = 'pending' and o.account = head.account and o.ordering_key = head.ordering_key) as messages
    from (
        select distinct on (account, ordering_key) *
        from {schema}.outbox
        where status = 'pending' and ordering_key is not null
        order by account, ordering_key, id
    ) head
    where head.available_at > now()
    """,
)

DOWNGRADE = (
    "drop view {schema}.blocked_keys",
    "drop table {schema}.pace",
    "drop index {schema}.outbox_failed_heads",
    "drop trigger outbox_keeps_order on {schema}.outbox",
    "drop function {schema}.keep_order()",
)
