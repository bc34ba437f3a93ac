CREATE OR REPLACE FUNCTION relay.nobody_names_calls()
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    class integer := cast(cast('call' as regclass) as integer);
begin
    begin
        lock table naming_lock in share mode nowait;
        raise sqlstate 'RELAY';
    exception
        when lock_not_available then return false;
        when sqlstate 'RELAY' then null;
    end;
    return case when pg_try_advisory_lock(class, 0) then pg_advisory_unlock(class, 0) else false end;
end
$function$;
