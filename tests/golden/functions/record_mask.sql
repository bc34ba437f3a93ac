CREATE OR REPLACE FUNCTION relay.record_mask()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    insert into action (actor, action, reason, selection, count)
    values (session_user, 'mask', 'a mask was changed: ' || lower(tg_op),
        true_selection(array['removed', 'added'], array[
            case when tg_op in ('UPDATE', 'DELETE') then to_json(old) end,
            case when tg_op in ('UPDATE', 'INSERT') then to_json(new) end], null),
        0);
    return null;
end
$function$;

CREATE TRIGGER mask_is_recorded AFTER INSERT OR DELETE OR UPDATE ON relay.mask FOR EACH ROW EXECUTE FUNCTION relay.record_mask();
