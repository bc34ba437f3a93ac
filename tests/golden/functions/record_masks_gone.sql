CREATE OR REPLACE FUNCTION relay.record_masks_gone()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    insert into action (actor, action, reason, selection, count)
    values (session_user, 'mask', 'all masks are removed',
        json_build_object('removed', (select json_agg(to_json(m)) from mask m)), 0);
    return null;
end
$function$;

CREATE TRIGGER mask_is_recorded_when_emptied BEFORE TRUNCATE ON relay.mask FOR EACH STATEMENT EXECUTE FUNCTION relay.record_masks_gone();
