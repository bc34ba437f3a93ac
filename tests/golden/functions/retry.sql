CREATE OR REPLACE FUNCTION relay.retry(ids bigint[], reason text)
 RETURNS bigint[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    return (retry(ids, reason, session_user, null, null)).changed;
end
$function$;

CREATE OR REPLACE FUNCTION relay.retry(ids bigint[], reason text, actor text, selection json, per_second double precision, versions bigint[] DEFAULT NULL::bigint[], OUT changed bigint[], OUT left_alone bigint[], OUT why_not text[], OUT action bigint)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    moment timestamptz;
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
    from lock_messages('retry', ids, versions) as m;
    if changed = '{}' and (versions is null or left_alone = '{}') then
        return;
    end if;
    moment := clock_timestamp();
    update outbox o set status = 'pending', attempts = 0, call_id = null, result_index = null, finished_at = null,
        available_at = moment + make_interval(secs => coalesce((named.position - 1) / per_second, 0))
    from unnest(changed) with ordinality as named (id, position)
    where o.id = named.id;
    action := record_action('retry', actor, reason, true_selection(
        array['given', 'changed', 'left_alone', 'left_alone_why', 'per_second'],
        array[to_json(cardinality(ids)), to_json(cardinality(changed)),
            to_json(nullif(left_alone[1 : 10000], '{}')),
            (select json_object_agg(w.why, w.number order by w.why)
            from (
                select case when told.why like 'it is in flight%' then 'it is in flight' else told.why end as why,
                    count(*) as number
                from unnest(why_not) as told (why) group by 1) as w),
            to_json(per_second)],
        selection), changed, cardinality(changed));
end
$function$;
