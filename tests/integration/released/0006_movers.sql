-- The functions of revision 0006 as they were first released: only a superuser can define them.
create or replace function relay.archive_messages(
    before timestamptz, batch integer, failed_holds boolean, actor text, reason text,
    inout after bigint, out more boolean, out busy boolean, out messages integer, out attempts integer
) language plpgsql security definer
    set search_path = pg_catalog, relay, pg_temp set timezone = 'UTC' set relay.pruning = 'on' as $body$
declare
    began bigint := after;
    page bigint[];
    chosen bigint[];
    missing date[];
    made boolean;
begin
    messages := 0;
    attempts := 0;
    busy := not pg_try_advisory_xact_lock(cast(cast('outbox' as regclass) as integer), 257);
    if busy then
        return;
    end if;
    select array_agg(found.id order by found.id), coalesce(min(found.created_at) < before, false) into page, more
    from (select o.id, o.created_at from outbox o where o.id > after order by o.id limit batch) as found;
    after := page[cardinality(page)];
    chosen := array(
        select o.id from outbox o
        where o.id = any (page) and o.status <> 'pending' and o.finished_at < before
          and o.id not in (select unnest(c.message_ids) from call c where c.settled_at is null)
          and not (failed_holds and o.status = 'failed' and o.ordering_key is not null
                   and o.error_code is distinct from 'relay.discarded')
        order by o.id
        for update skip locked);
    select opened.missing, opened.made into missing, made from open_archives(array(
        select distinct cast(date_trunc('month', o.finished_at) as date)
        from outbox o where o.id = any (chosen))) as opened;
    if made then
        after := began;
        more := true;
        return;
    end if;
    chosen := array(
        select o.id from outbox o
        where o.id = any (chosen) and cast(date_trunc('month', o.finished_at) as date) <> all (missing)
        order by o.id);
    if chosen = '{}' then
        return;
    end if;
    with gone as (
        delete from attempt a using outbox o
        where a.message_id = any (chosen) and o.id = a.message_id
        returning a.*, o.finished_at
    )
    insert into attempt_archive select * from gone;
    get diagnostics attempts = row_count;
    with gone as (
        delete from outbox o where o.id = any (chosen) returning o.*
    )
    insert into outbox_archive select * from gone;
    get diagnostics messages = row_count;
    insert into action (actor, action, reason, selection, count)
    values (actor, 'archive', reason,
        json_build_object('table', 'outbox', 'before', before, 'first_id', chosen[1],
            'last_id', chosen[cardinality(chosen)], 'attempts', attempts),
        messages);
end
$body$;
create or replace function relay.archive_calls(
    before timestamptz, batch integer, actor text, reason text,
    inout after bigint, out more boolean, out busy boolean, out calls integer
) language plpgsql security definer
    set search_path = pg_catalog, relay, pg_temp set timezone = 'UTC' set relay.pruning = 'on' as $body$
declare
    began bigint := after;
    page bigint[];
    chosen bigint[];
    finished timestamptz[];
    missing date[];
    made boolean;
begin
    calls := 0;
    busy := not pg_try_advisory_xact_lock(cast(cast('outbox' as regclass) as integer), 257);
    if busy then
        return;
    end if;
    select array_agg(found.id order by found.id), coalesce(min(found.claimed_at) < before, false) into page, more
    from (select c.id, c.claimed_at from call c where c.id > after order by c.id limit batch) as found;
    after := page[cardinality(page)];
    select array_agg(found.id order by found.id), array_agg(found.finished_at order by found.id)
    into chosen, finished
    from (
        select c.id, case when c.outcome = 'ok' then c.settled_at else greatest(c.settled_at, (
            select max(o.finished_at) from outbox_archive o
            where o.id = any (c.message_ids) and o.finished_at > c.settled_at)) end as finished_at
        from call c
        where c.id = any (page) and c.settled_at < before
          and not exists (select from outbox o where o.id = any (c.message_ids))
    ) as found;
    select opened.missing, opened.made into missing, made from open_archives(array(
        select distinct cast(date_trunc('month', moment) as date) from unnest(finished) as moment)) as opened;
    if made then
        after := began;
        more := true;
        return;
    end if;
    with gone as (
        delete from call c using unnest(chosen, finished) as picked (id, finished_at)
        where c.id = picked.id and cast(date_trunc('month', picked.finished_at) as date) <> all (missing)
        returning c.*, picked.finished_at
    )
    insert into call_archive select * from gone;
    get diagnostics calls = row_count;
    if calls = 0 then
        return;
    end if;
    insert into action (actor, action, reason, selection, count)
    values (actor, 'archive', reason,
        json_build_object('table', 'call', 'before', before, 'first_id', chosen[1],
            'last_id', chosen[cardinality(chosen)]),
        calls);
end
$body$;
