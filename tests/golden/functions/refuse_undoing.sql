CREATE OR REPLACE FUNCTION relay.refuse_undoing()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception using
        errcode = 'restrict_violation',
        message = 'message ' || old.id || ' is done, and done is final',
        hint = 'To send it once more, insert it as a new message.';
end
$function$;

CREATE TRIGGER outbox_done_is_final BEFORE UPDATE OF status ON relay.outbox FOR EACH ROW WHEN (((old.status = 'done'::text) AND (new.status <> 'done'::text))) EXECUTE FUNCTION relay.refuse_undoing();
