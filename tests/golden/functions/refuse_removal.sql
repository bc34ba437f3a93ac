CREATE OR REPLACE FUNCTION relay.refuse_removal()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if tg_op = 'DELETE' and tg_argv[0] = 'prunable' and current_setting('relay.pruning', true) = 'on' then
        return null;
    end if;
    raise exception using
        errcode = 'restrict_violation',
        message = 'nothing is removed from ' || tg_table_schema || '.' || tg_table_name,
        hint = case tg_argv[0] when 'prunable' then 'What finished long ago is removed with: relay prune. ' else 'It is kept for ever. ' end || 'A database for tests is emptied by its owner with: relay.testing.empty(connection)';
end
$function$;

CREATE TRIGGER action_is_not_removed BEFORE DELETE OR TRUNCATE ON relay.action FOR EACH STATEMENT EXECUTE FUNCTION relay.refuse_removal('never');
CREATE TRIGGER attempt_is_not_removed BEFORE DELETE OR TRUNCATE ON relay.attempt FOR EACH STATEMENT EXECUTE FUNCTION relay.refuse_removal('prunable');
CREATE TRIGGER call_is_not_removed BEFORE DELETE OR TRUNCATE ON relay.call FOR EACH STATEMENT EXECUTE FUNCTION relay.refuse_removal('prunable');
CREATE TRIGGER outbox_is_not_removed BEFORE DELETE OR TRUNCATE ON relay.outbox FOR EACH STATEMENT EXECUTE FUNCTION relay.refuse_removal('prunable');
CREATE TRIGGER pause_past_is_not_removed BEFORE DELETE OR TRUNCATE ON relay.pause_past FOR EACH STATEMENT EXECUTE FUNCTION relay.refuse_removal('never');
