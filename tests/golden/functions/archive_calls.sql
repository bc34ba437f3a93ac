CREATE OR REPLACE FUNCTION relay.archive_calls(before timestamp with time zone, batch integer, actor text, reason text, INOUT after bigint, OUT more boolean, OUT busy boolean, OUT calls integer)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
declare
    began bigint := after;
    page bigint[];
    chosen bigint[];
    finished timestamptz[];
    missing date[];
    made boolean;
    door text := coalesce(current_setting('relay.pruning', true), '');
begin
    calls := 0;
    if before > now() then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'only what finished in the past is archived, and this time is still to come: ' || before,
            hint = 'Name a time that is over, for example: now() - interval ''30 days''';
    end if;
    if before > now() - interval '1 day' and not pg_has_role(
        session_user, (select relowner from pg_class where oid = cast('outbox' as regclass)), 'member')
    then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'only the owner archives what finished less than a day ago, and asked is for all before '
                || before,
            hint = 'Name a time that is a day ago or more (relay archive --older-than 1d), or ask the owner.';
    end if;
    busy := not archive_alone();
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
    perform set_config('relay.pruning', 'on', true);
    with gone as (
        delete from call c using unnest(chosen, finished) as picked (id, finished_at)
        where c.id = picked.id and cast(date_trunc('month', picked.finished_at) as date) <> all (missing)
        returning c.*, picked.finished_at
    )
    insert into call_archive (id, account, worker, message_ids, parent_id, claimed_at, lease_until, sent_at, settled_at, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms, nonce, created_by, finished_at) select * from gone;
    get diagnostics calls = row_count;
    perform set_config('relay.pruning', door, true);
    if calls = 0 then
        return;
    end if;
    insert into action (actor, action, reason, selection, count)
    values (actor, 'archive', reason,
        json_build_object('table', 'call', 'before', before, 'first_id', chosen[1],
            'last_id', chosen[cardinality(chosen)]),
        calls);
end
$function$;
