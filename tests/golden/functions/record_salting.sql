CREATE OR REPLACE FUNCTION relay.record_salting(step text, last bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    number bigint := (select l.rows from left_to_do() l where l.step = record_salting.step);
begin
    if number > 0 then
        insert into action (actor, action, reason, selection, count)
        values (session_user, 'salt', 'hashes of a version before 0008 get a salt',
            json_build_object('table', step, 'last_id', last), number);
    end if;
end
$function$;
