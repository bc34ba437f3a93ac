CREATE OR REPLACE FUNCTION relay.refuse_but_owner()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
        return new;
    end if;
    raise exception using
        errcode = 'restrict_violation',
        message = tg_argv[0],
        hint = tg_argv[1];
end
$function$;

CREATE TRIGGER pace_is_near BEFORE INSERT OR UPDATE ON relay.pace FOR EACH ROW WHEN ((new.next_at > (clock_timestamp() + '1 day'::interval))) EXECUTE FUNCTION relay.refuse_but_owner('the next call of an app key cannot be more than a day away', 'Pause the app key instead.');
CREATE TRIGGER pace_is_not_undone BEFORE UPDATE ON relay.pace FOR EACH ROW WHEN ((new.next_at < old.next_at)) EXECUTE FUNCTION relay.refuse_but_owner('the next call of an app key is put off and never brought forward', 'Let the owner delete the row.');
CREATE TRIGGER pace_names_are_short BEFORE INSERT OR UPDATE ON relay.pace FOR EACH ROW WHEN ((octet_length(new.app_key) > 2500)) EXECUTE FUNCTION relay.refuse_but_owner('a code has at most 1000 bytes, a name 1000, the text of an error 8000', 'Cut it, and keep it elsewhere.');
CREATE TRIGGER pause_words_are_short BEFORE INSERT OR UPDATE ON relay.pause FOR EACH ROW WHEN (((octet_length(new.scope) > 2500) OR (octet_length(new.reason) > 8000) OR (octet_length(new.error_code) > 1000) OR (octet_length(new.credential) > 1000) OR (octet_length(new.by) > 1000))) EXECUTE FUNCTION relay.refuse_but_owner('a code has at most 1000 bytes, a name 1000, the text of an error 8000', 'Cut it, and keep it elsewhere.');
