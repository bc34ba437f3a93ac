CREATE OR REPLACE FUNCTION relay.archive_messages(before timestamp with time zone, batch integer, failed_holds boolean, actor text, reason text, INOUT after bigint, OUT more boolean, OUT busy boolean, OUT messages integer, OUT attempts integer)
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
    missing date[];
    made boolean;
    failed_with_key integer;
    door text := coalesce(current_setting('relay.pruning', true), '');
begin
    messages := 0;
    attempts := 0;
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
    select array_agg(found.id order by found.id), coalesce(min(found.created_at) < before, false) into page, more
    from (select o.id, o.created_at from outbox o where o.id > after order by o.id limit batch) as found;
    after := page[cardinality(page)];
    chosen := array(
        select o.id from outbox o
        where o.id = any (page) and o.status <> 'pending' and o.finished_at < before
          and o.id not in (select m.id from call c cross join unnest(c.message_ids) as m (id) where c.settled_at is null and m.id is not null)
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
    select count(*) into failed_with_key from outbox o
    where o.id = any (chosen) and o.status = 'failed' and o.ordering_key is not null
      and o.error_code is distinct from 'relay.discarded';
    perform set_config('relay.pruning', 'on', true);
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
    perform set_config('relay.pruning', door, true);
    insert into action (actor, action, reason, selection, count)
    values (actor, 'archive', reason,
        json_build_object('table', 'outbox', 'before', before, 'first_id', chosen[1],
            'last_id', chosen[cardinality(chosen)], 'attempts', attempts,
            'failed_holds', failed_holds, 'failed_with_key', failed_with_key),
        messages);
end
$function$;
