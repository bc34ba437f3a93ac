"""Revision 0004, views: the audit's public names. They show no raw content and run with their owner's rights. Frozen.

Whoever may read a view needs no right on any table. Those an operator looks at daily read what is pending, failed, in
flight or unknown through partial indexes and never scan finished rows; ``audit_message`` and ``audit_delivery`` follow
an index when asked about one message, call or request. ``audit_daily`` and ``audit_integrity`` read everything. But in
``blocked_keys``, which is older, no time is infinite: many drivers cannot read that.
"""

from __future__ import annotations

# What blocked_keys was in revision 0002, but for the text of the error.
_BLOCKED_KEYS = r"""
    as
    select head.account, head.ordering_key, head.id as head_id, head.available_at, head.attempts,
        head.error_code, <error_message>,
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
    """

UPGRADE = (
    r"""
    create view {schema}.audit_message with (security_barrier) as
    select o.id, o.topic, o.account, o.ordering_key, o.dedupe_key, o.producer, o.status, o.attempts,
        {schema}.mask_content(o.content,
            array(select pointer from {schema}.mask m where m.topic in (o.topic, '*'))) as content,
        length(cast(o.content as text)) as content_characters,
        encode(o.content_sha256, 'hex') as content_sha256,
        o.created_at, nullif(nullif(o.available_at, 'infinity'), '-infinity') as available_at,
        o.status = 'pending' and o.available_at = 'infinity' as held,
        nullif(nullif(o.deliver_before, 'infinity'), '-infinity') as deliver_before, o.finished_at,
        round(extract(epoch from o.finished_at - o.created_at), 3) as latency_seconds,
        o.call_id, o.result_index, c.request_id, o.error_code, {schema}.mask_text(o.error_message) as error_message,
        o.created_by, o.created_xid,
        substring(cast(o.headers as text) from '"traceparent"\s*:\s*"([0-9a-f-]+)"') as traceparent
    from {schema}.outbox o
    left join {schema}.call c on c.id = o.call_id
    """,
    # Both halves name the message and the call in both directions: by a message its calls are found, by a call or a
    # request id its messages, each through a primary key.
    r"""
    create view {schema}.audit_delivery with (security_barrier) as
    select a.message_id, a.call_id, a.result_index, a.outcome, a.error_code,
        {schema}.mask_text(a.error_message) as error_message, a.at,
        nullif(a.retry_at, 'infinity') as retry_at,
        c.account, c.worker, c.sent_at, c.duration_ms, c.http_status, c.request_id, c.outcome as call_outcome,
        c.error_code as call_error_code, c.sub_code as call_sub_code, c.parent_id
    from {schema}.attempt a
    join {schema}.call c on c.id = a.call_id and a.message_id = any (c.message_ids)
    union all
    select o.id, o.call_id, o.result_index, 'done', null, null, o.finished_at, null,
        c.account, c.worker, c.sent_at, c.duration_ms, c.http_status, c.request_id, c.outcome,
        c.error_code, c.sub_code, c.parent_id
    from {schema}.outbox o
    join {schema}.call c on c.id = o.call_id and o.id = any (c.message_ids)
    where o.status = 'done'
    """,
    r"""
    create view {schema}.audit_call with (security_barrier) as
    select id, account, worker, cardinality(message_ids) as messages, message_ids, parent_id, claimed_at, lease_until,
        sent_at, settled_at, outcome, http_status, request_id, error_code, sub_code,
        {schema}.mask_text(error_message) as error_message, request_bytes, duration_ms
    from {schema}.call
    """,
    r"""
    create view {schema}.audit_failure with (security_barrier) as
    select o.id, o.topic, o.account, o.ordering_key, o.producer, o.error_code,
        {schema}.mask_text(o.error_message) as error_message, o.attempts, o.created_at, o.finished_at,
        o.call_id, o.result_index, c.request_id, c.http_status, c.sub_code
    from {schema}.outbox o
    left join {schema}.call c on c.id = o.call_id
    where o.status = 'failed'
    """,
    r"""
    create view {schema}.audit_in_flight with (security_barrier) as
    select named.message_id, o.topic, o.ordering_key, cast(named.position - 1 as smallint) as result_index,
        c.id as call_id, c.account, c.worker, c.parent_id, c.claimed_at, c.lease_until,
        c.lease_until < now() as lease_expired
    from {schema}.call c
    cross join lateral unnest(c.message_ids) with ordinality as named (message_id, position)
    left join {schema}.outbox o on o.id = named.message_id
    where c.settled_at is null
    """,
    # Each half has the condition of one partial index.
    r"""
    create view {schema}.audit_backlog with (security_barrier) as
    select account, count(*) as pending,
        count(*) filter (where available_at <= now()) as due,
        count(*) filter (where available_at > now() and available_at < 'infinity') as waiting,
        count(*) filter (where available_at = 'infinity') as held,
        round(extract(epoch from now() - min(greatest(available_at, created_at))
            filter (where available_at <= now())), 3) as oldest_due_seconds,
        round(extract(epoch from now() - min(created_at)), 3) as oldest_seconds
    from (
        select account, available_at, created_at from {schema}.outbox
        where status = 'pending' and ordering_key is null
        union all
        select account, available_at, created_at from {schema}.outbox
        where status = 'pending' and ordering_key is not null
    ) as pending
    group by account
    """,
    "create or replace view {schema}.blocked_keys with (security_barrier)"
    + _BLOCKED_KEYS.replace("<error_message>", "{schema}.mask_text(head.error_message) as error_message"),
    r"""
    create view {schema}.audit_possible_duplicate with (security_barrier) as
    select unclear.message_id, o.topic, o.account, o.ordering_key, o.dedupe_key,
        unclear.times as unknown_outcomes, unclear.first_at as first_unknown_at, unclear.last_at as last_unknown_at,
        unclear.call_ids as unknown_call_ids,
        case
            when o.status = 'done' then 'accepted by a later call'
            when o.status = 'pending' and o.available_at = 'infinity' then 'held for a person'
            when o.status = 'pending' then 'will be sent again'
            when o.error_code = 'relay.discarded' then 'discarded by a person'
            else 'failed'
        end as what_came_of_it,
        o.finished_at, o.call_id as final_call_id, c.request_id as final_request_id
    from (
        select message_id, count(*) as times, min(at) as first_at, max(at) as last_at,
            array_agg(call_id order by call_id) as call_ids
        from {schema}.attempt where outcome = 'unknown' group by message_id
    ) as unclear
    join {schema}.outbox o on o.id = unclear.message_id
    left join {schema}.call c on c.id = o.call_id
    """,
    r"""
    create view {schema}.audit_pause with (security_barrier) as
    select scope, since, nullif(until, 'infinity') as until, until is null or until > now() as in_force,
        {schema}.mask_text(reason) as reason, error_code, by
    from {schema}.pause
    """,
    r"""
    create view {schema}.audit_daily with (security_barrier) as
    select cast(o.created_at at time zone here.zone as date) as day, here.zone,
        count(*) as inserted,
        count(*) filter (where o.status = 'done') as done,
        count(*) filter (where o.status = 'failed') as failed,
        count(*) filter (where o.status = 'pending') as pending,
        count(unclear.message_id) as unknown
    from (select coalesce(nullif(current_setting('relay.zone', true), ''), 'Asia/Shanghai') as zone) as here
    cross join {schema}.outbox o
    left join (select distinct message_id from {schema}.attempt where outcome = 'unknown') as unclear
        on unclear.message_id = o.id
    group by 1, 2
    """,
    r"""
    create view {schema}.audit_action with (security_barrier) as
    select id, at, actor, db_user, action, {schema}.mask_text(reason) as reason, selection, message_ids, count
    from {schema}.action
    """,
    # Intact: the content is what was inserted, or its removal is in the ledger, with the same hash.
    r"""
    create view {schema}.audit_integrity with (security_barrier) as
    with removed (message_id, sha256) as materialized (
        select cast(entry.key as bigint), entry.value ->> 'content'
        from {schema}.action cross join lateral json_each(action.selection -> 'sha256') as entry
        where action.action = 'redact'
    )
    select o.id, encode(o.content_sha256, 'hex') as content_sha256, encode(found.sha256, 'hex') as found_sha256,
        found.redacted,
        found.sha256 = o.content_sha256 or found.redacted
            and (o.id, encode(o.content_sha256, 'hex')) in (select message_id, sha256 from removed) as intact
    from {schema}.outbox o
    cross join lateral (
        select sha256(convert_to(cast(o.content as text), 'UTF8')) as sha256,
            cast(o.content as text) = '{"redacted": true}' as redacted
    ) as found
    """,
)

DOWNGRADE = (
    "drop view {schema}.audit_integrity",
    "drop view {schema}.audit_action",
    "drop view {schema}.audit_daily",
    "drop view {schema}.audit_pause",
    "drop view {schema}.audit_possible_duplicate",
    "drop view {schema}.blocked_keys",
    "drop view {schema}.audit_backlog",
    "drop view {schema}.audit_in_flight",
    "drop view {schema}.audit_failure",
    "drop view {schema}.audit_call",
    "drop view {schema}.audit_delivery",
    "drop view {schema}.audit_message",
)

# For the end of a downgrade: the view depends on every column the table has by then.
BLOCKED_KEYS_BEFORE = "create view {schema}.blocked_keys" + _BLOCKED_KEYS.replace(
    "<error_message>", "head.error_message"
)
