CREATE OR REPLACE FUNCTION relay.name_calls()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
begin
    lock table relay.naming_lock in row exclusive mode;
    perform pg_catalog.pg_try_advisory_xact_lock_shared(
        cast(cast('relay.call' as pg_catalog.regclass) as integer), 0);
end
$function$;
