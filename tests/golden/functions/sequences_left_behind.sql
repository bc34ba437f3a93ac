CREATE OR REPLACE FUNCTION relay.sequences_left_behind()
 RETURNS TABLE(sequence text, used bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    for sequence, used in
        select 'outbox_id_seq', greatest((select max(id) from outbox), (select max(id) from outbox_archive))
        union all select 'call_id_seq', greatest((select max(id) from call), (select max(id) from call_archive))
        union all select 'action_id_seq', (select max(id) from action)
    loop
        if used > coalesce(pg_sequence_last_value(sequence), 0) then
            return next;
        end if;
    end loop;
end
$function$;
