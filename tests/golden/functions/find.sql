CREATE OR REPLACE FUNCTION relay.find(verb text, status text DEFAULT NULL::text, error_code text DEFAULT NULL::text, topic text DEFAULT NULL::text, account text DEFAULT NULL::text, ordering_key text DEFAULT NULL::text, since interval DEFAULT NULL::interval, until interval DEFAULT NULL::interval, most bigint DEFAULT NULL::bigint)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
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
$function$;
