CREATE OR REPLACE FUNCTION relay.lock_messages(verb text, ids bigint[], versions bigint[] DEFAULT NULL::bigint[], OUT chosen bigint[], OUT left_alone bigint[], OUT why_not text[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
declare
    locked bigint[];
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'invalid_transaction_state',
            message = 'this needs a transaction in READ COMMITTED';
    end if;
    if cardinality(versions) <> coalesce(cardinality(ids), 0) then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('there must be a version for each id: %s ids and %s versions were given',
                coalesce(cardinality(ids), 0), cardinality(versions)),
            hint = 'Take both from why_not(verb, ids), in one order; or leave versions out.';
    end if;
    locked := array(
        select o.id from outbox o
        where o.id = any (ids)
          and o.id not in (select m.id from call c cross join unnest(c.message_ids) as m (id) where c.settled_at is null and m.id is not null)
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
            when versions is not null and seen.looks is distinct from array[looked.version] then
                'it has changed since you looked'
            when looked.id not in (select unnest(locked)) then 'it is just changing: try again'
        end as reason
        from why_not(verb, ids) as looked
        left join (
            select given.id, array_agg(distinct given.version) as looks
            from unnest(ids, versions) as given (id, version)
            group by given.id) as seen on seen.id = looked.id
    ) as m;
end
$function$;
