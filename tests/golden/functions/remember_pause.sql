CREATE OR REPLACE FUNCTION relay.remember_pause()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    if tg_op = 'UPDATE' and (new.reason, new.error_code, new."by", new.db_user, new.since)
        is not distinct from (old.reason, old.error_code, old."by", old.db_user, old.since)
        and coalesce(new.until >= old.until, new.until is null)
    then
        return null;
    end if;
    insert into pause_past (scope, until, reason, error_code, since, by, db_user, ended_at, ended_by, ended)
    values (old.scope, old.until, old.reason, old.error_code, old.since, old."by", old.db_user,
        least(old.until, clock_timestamp()), session_user,
        case when old.until <= now() then 'by itself' when tg_op = 'DELETE' then 'lifted' else 'replaced' end);
    return null;
end
$function$;

CREATE TRIGGER pause_is_remembered AFTER DELETE OR UPDATE ON relay.pause FOR EACH ROW EXECUTE FUNCTION relay.remember_pause();
