CREATE OR REPLACE FUNCTION relay.keep_pause()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    by_owner boolean := pg_has_role(
        current_user, (select relowner from pg_class where oid = tg_relid), 'usage');
    holds boolean := tg_op <> 'INSERT' and (old.until is null or old.until > now());
begin
    if by_owner then
        if tg_op = 'UPDATE' and new is distinct from old then
            new.db_user := session_user;
        end if;
        if tg_op = 'DELETE' then
            return old;
        end if;
        return new;
    end if;
    if tg_op = 'UPDATE' and holds and old.error_code is null and old.credential is null then
        return old;
    end if;
    if holds and (tg_op = 'DELETE' and old.credential is null
        or tg_op = 'UPDATE' and coalesce(new.until < old.until, old.until is null and new is distinct from old))
    then
        raise exception using
            errcode = 'restrict_violation',
            message = 'a pause that holds is ended by a person, or by a new credential',
            hint = 'Run: relay resume';
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    if tg_op = 'INSERT' or new is distinct from old then
        new.db_user := session_user;
    end if;
    if tg_op = 'INSERT' or (new.since, new.error_code) is distinct from (old.since, old.error_code) then
        new.since := clock_timestamp();
    end if;
    return new;
end
$function$;

CREATE TRIGGER pause_is_kept BEFORE INSERT OR DELETE OR UPDATE ON relay.pause FOR EACH ROW EXECUTE FUNCTION relay.keep_pause();
