CREATE OR REPLACE FUNCTION relay.latest_messages(most integer DEFAULT 100)
 RETURNS SETOF relay.audit_message
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
begin
    return query
    select message.*
    from (
        select everywhere.id
        from (select o.id from outbox o union all select a.id from outbox_archive a) as everywhere
        order by everywhere.id desc limit coalesce(most, 100)
    ) as newest
    cross join lateral (select one.* from audit_message one where one.id = newest.id offset 0) as message
    order by message.id desc;
end
$function$;
