CREATE OR REPLACE FUNCTION relay.remember_key()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    insert into dedupe (account, dedupe_key, message_id) values (old.account, old.dedupe_key, old.id)
    on conflict on constraint dedupe_pkey do nothing;
    return null;
end
$function$;

CREATE TRIGGER outbox_dedupe_keys_stay AFTER DELETE ON relay.outbox FOR EACH ROW WHEN ((old.dedupe_key IS NOT NULL)) EXECUTE FUNCTION relay.remember_key();
