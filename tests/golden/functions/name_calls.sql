CREATE OR REPLACE FUNCTION relay.name_calls()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    lock table naming_lock in row exclusive mode;
    perform pg_try_advisory_xact_lock_shared(cast(cast('call' as regclass) as integer), 0);
end
$function$;
