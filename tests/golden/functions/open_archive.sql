CREATE OR REPLACE FUNCTION relay.open_archive(month date)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO'
 SET default_tablespace TO ''
 SET default_table_access_method TO 'heap'
AS $function$
declare
    here text := (select quote_ident(n.nspname) || '.' from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where c.oid = cast('outbox_archive' as regclass));
    whole text;
    part text;
begin
    foreach whole in array array['outbox_archive', 'call_archive', 'attempt_archive'] loop
        part := here || whole || to_char(month, '"_y"YYYY"m"MM');
        continue when to_regclass(part) is not null;
        execute 'create table ' || part || ' partition of ' || here || whole || ' for values from ('
            || quote_literal(date_trunc('month', month)) || ') to ('
            || quote_literal(date_trunc('month', month) + interval '1 month') || ')';
        execute 'revoke usage on type ' || part || ' from public';
        execute 'create trigger ' || whole || '_is_not_emptied before truncate on ' || part
            || ' for each statement execute function ' || here || 'keep_archive()';
    end loop;
end
$function$;
