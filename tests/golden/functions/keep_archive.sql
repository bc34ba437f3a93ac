CREATE OR REPLACE FUNCTION relay.keep_archive()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception using
        errcode = 'restrict_violation',
        message = 'nothing is removed from ' || tg_table_schema || '.' || tg_table_name,
        hint = 'A month goes as a whole, with: relay archive --drop. A database for tests is emptied by its owner with: relay.testing.empty(connection)';
end
$function$;

CREATE TRIGGER attempt_archive_is_not_emptied BEFORE TRUNCATE ON relay.attempt_archive FOR EACH STATEMENT EXECUTE FUNCTION relay.keep_archive();
CREATE TRIGGER attempt_archive_is_not_removed BEFORE DELETE ON relay.attempt_archive FOR EACH ROW EXECUTE FUNCTION relay.keep_archive();
CREATE TRIGGER call_archive_is_not_emptied BEFORE TRUNCATE ON relay.call_archive FOR EACH STATEMENT EXECUTE FUNCTION relay.keep_archive();
CREATE TRIGGER call_archive_is_not_removed BEFORE DELETE ON relay.call_archive FOR EACH ROW EXECUTE FUNCTION relay.keep_archive();
CREATE TRIGGER outbox_archive_is_not_emptied BEFORE TRUNCATE ON relay.outbox_archive FOR EACH STATEMENT EXECUTE FUNCTION relay.keep_archive();
CREATE TRIGGER outbox_archive_is_not_removed BEFORE DELETE ON relay.outbox_archive FOR EACH ROW EXECUTE FUNCTION relay.keep_archive();
