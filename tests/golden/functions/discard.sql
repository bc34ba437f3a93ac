CREATE OR REPLACE FUNCTION relay.discard(ids bigint[], reason text)
 RETURNS bigint[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    return (discard(ids, reason, session_user, null)).changed;
end
$function$;

CREATE OR REPLACE FUNCTION relay.discard(ids bigint[], reason text, actor text, selection json, versions bigint[] DEFAULT NULL::bigint[], OUT changed bigint[], OUT left_alone bigint[], OUT why_not text[], OUT action bigint)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    moment timestamptz;
    was json;
begin
    select m.chosen, m.left_alone, m.why_not into changed, left_alone, why_not
    from lock_messages('discard', ids, versions) as m;
    if changed = '{}' and (versions is null or left_alone = '{}') then
        return;
    end if;
    moment := clock_timestamp();
    select json_object_agg(w.code, w.ids order by w.code) into was
    from (
        select left(o.error_code, 200) as code, json_agg(o.id order by o.id) as ids
        from outbox o
        where o.id = any (changed[1 : 10000]) and o.error_code is not null
        group by 1) as w;
    update outbox o set status = 'failed', error_code = 'relay.discarded', error_message = reason,
        finished_at = coalesce(o.finished_at, moment)
    where o.id = any (changed);
    action := record_action('discard', actor, reason, true_selection(
        array['given', 'changed', 'left_alone', 'left_alone_why', 'was'],
        array[to_json(cardinality(ids)), to_json(cardinality(changed)),
            to_json(nullif(left_alone[1 : 10000], '{}')),
            (select json_object_agg(w.why, w.number order by w.why)
            from (
                select case when told.why like 'it is in flight%' then 'it is in flight' else told.why end as why,
                    count(*) as number
                from unnest(why_not) as told (why) group by 1) as w),
            was],
        selection), changed, cardinality(changed));
end
$function$;
