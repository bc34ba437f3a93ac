CREATE OR REPLACE FUNCTION relay.step_over_used_ids(of_table text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET exit_on_error TO 'off'
AS $function$
declare
    sequence text := of_table || '_id_seq';
    used bigint;
    archived bigint;
    drawn bigint;
begin
    lock table ids_lock in exclusive mode;
    execute 'select max(id) from ' || of_table into used;
    if to_regclass(of_table || '_archive') is not null then
        execute 'select max(id) from ' || of_table || '_archive' into archived;
    end if;
    used := greatest(used, archived);
    execute 'select last_value - cast(not is_called as integer) from ' || sequence into drawn;
    if used - drawn between 1 and 100 then
        perform nextval(sequence) from generate_series(drawn + 1, used);
    elsif used > drawn then
        perform setval(sequence, used);
    end if;
    raise sqlstate 'RELAY';
exception when sqlstate 'RELAY' then
    null;
end
$function$;
