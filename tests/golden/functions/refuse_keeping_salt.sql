CREATE OR REPLACE FUNCTION relay.refuse_keeping_salt()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception using
        errcode = 'restrict_violation',
        message = 'the salt of a hash goes with the content',
        hint = 'Use relay redact of the version that migrated these tables.';
end
$function$;

CREATE TRIGGER outbox_salt_goes BEFORE UPDATE OF content ON relay.outbox FOR EACH ROW WHEN (((new.content_salt IS DISTINCT FROM '\x'::bytea) AND (COALESCE(current_setting('relay.redacting'::text, true), ''::text) = 'on'::text))) EXECUTE FUNCTION relay.refuse_keeping_salt();
CREATE TRIGGER outbox_archive_salt_goes BEFORE UPDATE OF content ON relay.outbox_archive FOR EACH ROW WHEN (((new.content_salt IS DISTINCT FROM '\x'::bytea) AND (COALESCE(current_setting('relay.redacting'::text, true), ''::text) = 'on'::text))) EXECUTE FUNCTION relay.refuse_keeping_salt();
