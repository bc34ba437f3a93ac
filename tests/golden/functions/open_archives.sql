CREATE OR REPLACE FUNCTION relay.open_archives(months date[], OUT missing date[], OUT made boolean)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    missing := array(
        select month from unnest(months) as month
        where not exists (
            select from pg_inherits i join pg_class part on part.oid = i.inhrelid
            where i.inhparent = cast('outbox_archive' as regclass)
              and part.relname = 'outbox_archive' || to_char(month, '"_y"YYYY"m"MM')));
    made := missing <> '{}';
    if made then
        lock table only outbox_archive, only call_archive, only attempt_archive in access exclusive mode nowait;
        perform open_archive(month) from unnest(missing) as month;
    end if;
exception when lock_not_available then
    made := false;
end
$function$;
