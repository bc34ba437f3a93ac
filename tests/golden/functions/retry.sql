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

CREATE OR REPLACE FUNCTION relay.retry(ids bigint[], reason text, actor text, selection json, per_second double precision, OUT changed bigint[], OUT left_alone bigint[], OUT why_not text[], OUT action bigint)
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
    from lock_messages('retry', ids) as m;
    if changed = '{}' then
        return;
    end if;
    moment := clock_timestamp();
    update outbox o set status = 'pending', attempts = 0, call_id = null, result_index = null, finished_at = null,
        available_at = moment + make_interval(secs => coalesce((named.position - 1) / per_second, 0))
    from unnest(changed) with ordinality as named (id, position)
    where o.id = named.id;
    action := record_action('retry', actor, reason, true_selection(
        array['given', 'changed', 'left_alone', 'per_second'],
        array[to_json(cardinality(ids)), to_json(cardinality(changed)),
            to_json(nullif(left_alone[1 : 10000], '{}')), to_json(per_second)],
        selection), changed, cardinality(changed));
end
$function$;
