CREATE OR REPLACE FUNCTION relay.archive_alone()
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    lock table archive_lock in exclusive mode nowait;
    return true;
exception when lock_not_available then
    return false;
end
$function$;
