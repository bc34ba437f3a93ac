CREATE OR REPLACE FUNCTION relay.step_over_action_ids()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET enable_sort TO 'off'
AS $function$
begin
    if (select not drawn.is_called or (select beyond.id from action beyond
                                       where beyond.id > drawn.last_value order by beyond.id limit 1) is not null
        from action_id_seq drawn)
    then
        perform step_over_used_ids('action');
    end if;
    return null;
end
$function$;

CREATE TRIGGER action_steps_over_used_ids BEFORE INSERT ON relay.action FOR EACH STATEMENT EXECUTE FUNCTION relay.step_over_action_ids();
