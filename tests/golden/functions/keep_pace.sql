CREATE OR REPLACE FUNCTION relay.keep_pace()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    far constant timestamptz := clock_timestamp() + interval '60 s';
    moved interval;
begin
    if tg_op = 'INSERT' then
        if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
            return new;
        end if;
        moved := new.next_at - clock_timestamp();
    else
        moved := new.next_at - greatest(old.next_at, clock_timestamp());
        if new.next_at > far and old.next_at > far and old.db_user is not null then
            moved := greatest(moved, interval '0 s');
            new.db_user := old.db_user;
            if old.db_user = session_user then
                new.step := coalesce(old.step, interval '0 s') + moved;
            elsif moved <= old.step then
                new.step := old.step - moved;
            else
                new.db_user := session_user;
                new.step := moved - coalesce(old.step, interval '0 s');
            end if;
            return new;
        end if;
    end if;
    new.db_user := session_user;
    new.step := case when new.next_at > far then moved end;
    return new;
end
$function$;

CREATE TRIGGER pace_is_somebodys BEFORE INSERT OR UPDATE ON relay.pace FOR EACH ROW WHEN (((new.next_at > (clock_timestamp() + '00:01:00'::interval)) OR (new.step IS NOT NULL) OR (new.db_user IS DISTINCT FROM SESSION_USER))) EXECUTE FUNCTION relay.keep_pace();
