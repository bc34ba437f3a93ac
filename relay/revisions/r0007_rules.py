"""Revision 0007, rules: which messages a verb finds, which it may change, and why not the others. Frozen.

``find`` and ``why_not`` only look, and tell nothing of a content. ``lock_messages`` and ``record_action`` are the two
ends of every change and nobody's but the owner's: lock the messages that are in no open call, look again with a younger
snapshot, which sees any call that has claimed them meanwhile; then change what may be changed, and write the ledger.
That snapshot is why it wants READ COMMITTED, as the claim does. Where a plan depends on how many ids there are, the
function lets each call have its own.
"""

from __future__ import annotations

UPGRADE = (
    # Null means all. Each part of the union has the condition of one partial index, so finished rows are never read. A
    # discarded message is closed: nobody gets at it by a filter that does not say so.
    r"""
    create function {schema}.find(
        verb text, status text default null, error_code text default null, topic text default null,
        account text default null, ordering_key text default null, since interval default null,
        until interval default null, most bigint default null
    ) returns setof bigint language plpgsql stable security definer
        set search_path = pg_catalog, {schema}, pg_temp set plan_cache_mode = 'force_custom_plan' as $body$
    declare
        failed boolean := coalesce(status = 'failed', true);
        held boolean := coalesce(status = 'held', true);
        pending boolean := coalesce(status = 'pending', verb = 'discard');
    begin
        return query
        select m.id from (
            select o.* from outbox o where o.status = 'failed' and failed
            union all
            select o.* from outbox o
            where o.status = 'pending' and o.ordering_key is null
              and (pending or held and o.available_at = 'infinity')
            union all
            select o.* from outbox o
            where o.status = 'pending' and o.ordering_key is not null
              and (pending or held and o.available_at = 'infinity')
        ) as m
        where (find.topic is null or m.topic = find.topic)
          and (find.account is null or m.account = find.account)
          and (find.ordering_key is null or m.ordering_key = find.ordering_key)
          and (m.error_code = find.error_code
               or find.error_code is null and m.error_code is distinct from 'relay.discarded')
          and (since is null or m.created_at >= now() - since)
          and (until is null or m.created_at <= now() - until)
        order by m.id limit most;
    end
    $body$
    """,
    # One row for each id given, also for those that nobody knows. A message is hot or archived, never both: who was
    # found hot is not looked for in every month.
    r"""
    create function {schema}.why_not(
        verb text, ids bigint[],
        out id bigint, out why_not text, out account text, out ordering_key text, out age_seconds double precision
    ) returns setof record language plpgsql stable security definer
        set search_path = pg_catalog, {schema}, pg_temp set plan_cache_mode = 'force_custom_plan' as $body$
    begin
        return query
        select named.id,
            case
                when m.status is null then 'there is no such message'
                when verb = 'retry' then case
                    when m.status = 'done' then
                        'it is done, and done is final; to send it once more, insert it as a new message'
                    when m.archived then
                        'it is archived, and what is archived is not sent; insert it as a new message'
                    when open.id is not null then 'it is in flight, in call ' || open.id
                    when m.status = 'pending' and m.available_at < 'infinity' then 'it is pending already'
                    when cast(m.content as text) = '{"redacted": true}' then
                        'its content was removed, so there is nothing to send'
                    when m.deliver_before <= now() then 'its deliver_before has passed, so it would not be sent'
                end
                when verb = 'discard' then case
                    when m.status = 'done' then 'it is done, and done is final'
                    when m.archived then 'it is archived: it failed, and stays as it is'
                    when open.id is not null then
                        'it is in flight: try again when call ' || open.id || ' is settled'
                    when m.status = 'failed' and m.error_code = 'relay.discarded' then 'it is discarded already'
                end
                when verb = 'redact' then case
                    when m.status = 'pending' then
                        'it is pending and would be sent without its content; discard it first'
                    when cast(m.content as text) = '{"redacted": true}' then 'its content was removed already'
                end
                else 'there is no such verb'
            end,
            m.account, m.ordering_key, cast(extract(epoch from now() - m.created_at) as double precision)
        from (select distinct given.id from unnest(ids) as given (id)) as named
        left join lateral (
            select o.status, o.account, o.ordering_key, o.error_code, o.available_at, o.deliver_before, o.content,
                o.created_at, false as archived
            from outbox o where o.id = named.id
            union all
            select a.status, a.account, a.ordering_key, a.error_code, a.available_at, a.deliver_before, a.content,
                a.created_at, true
            from outbox_archive a where a.id = named.id
            limit 1
        ) as m on true
        left join (
            select c.id, unnest(c.message_ids) as message_id from call c where c.settled_at is null
        ) as open on open.message_id = named.id
        order by named.id;
    end
    $body$
    """,
    # What is in an open call is not locked: that would hold up the worker that settles it. The archive comes last, for
    # waiting for an archiver's batch may have been in vain: what it moved is seen there.
    r"""
    create function {schema}.lock_messages(
        verb text, ids bigint[], out chosen bigint[], out left_alone bigint[], out why_not text[]
    ) language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp set plan_cache_mode = 'force_custom_plan' as $body$
    declare
        locked bigint[];
    begin
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception using
                errcode = 'invalid_transaction_state',
                message = 'this needs a transaction in READ COMMITTED';
        end if;
        locked := array(
            select o.id from outbox o
            where o.id = any (ids)
              and o.id not in (select unnest(c.message_ids) from call c where c.settled_at is null)
            order by o.id
            for update);
        if verb = 'redact' then
            locked := locked || array(
                select a.id from outbox_archive a where a.id = any (ids) order by a.id for update);
        end if;
        -- Neither refused nor locked: its call was settled between the two looks, and the next claim may have it.
        select coalesce(array_agg(m.id order by m.id) filter (where m.reason is null), '{}'),
            coalesce(array_agg(m.id order by m.id) filter (where m.reason is not null), '{}'),
            coalesce(array_agg(m.reason order by m.id) filter (where m.reason is not null), '{}')
        into chosen, left_alone, why_not
        from (
            select looked.id, case
                when looked.why_not is not null then looked.why_not
                when looked.id not in (select unnest(locked)) then 'it is just changing: try again'
            end as reason
            from why_not(verb, ids) as looked
        ) as m;
    end
    $body$
    """,
    r"""
    create function {schema}.record_action(
        verb text, actor text, reason text, selection json, changed bigint[], number integer
    ) returns bigint language plpgsql
        set search_path = pg_catalog, {schema}, pg_temp as $body$
    declare
        recorded bigint;
    begin
        insert into action (actor, action, reason, selection, message_ids, count)
        values (actor, verb, reason, selection, case when cardinality(changed) <= 10000 then changed end, number)
        returning id into recorded;
        return recorded;
    end
    $body$
    """,
    r"""
    revoke execute on function
        {schema}.find(text, text, text, text, text, text, interval, interval, bigint),
        {schema}.why_not(text, bigint[]), {schema}.lock_messages(text, bigint[]),
        {schema}.record_action(text, text, text, json, bigint[], integer) from public
    """,
)

DOWNGRADE = (
    "drop function {schema}.record_action(text, text, text, json, bigint[], integer)",
    "drop function {schema}.lock_messages(text, bigint[])",
    "drop function {schema}.why_not(text, bigint[])",
    "drop function {schema}.find(text, text, text, text, text, text, interval, interval, bigint)",
)
