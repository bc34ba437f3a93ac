CREATE OR REPLACE FUNCTION relay.left_to_do()
 RETURNS TABLE(step text, rows bigint)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
    select c.step, case c.step
        when 'keys' then (
            select count(*) from outbox_archive o
            where o.id > c.reached and o.id <= c.last and o.dedupe_key is not null)
        when 'ledger' then (
            select count(*) from action a where a.id > c.reached and a.id <= c.last
            and a.action = 'redact' and a.selection -> 'sha256' is not null)
        when 'outbox' then (
            select count(*) from outbox o where o.id > c.reached and o.id <= c.last and o.content_salt is null)
        when 'archive' then (
            select count(*) from outbox_archive o
            where o.id > c.reached and o.id <= c.last and o.content_salt is null)
        when 'index' then c.last - c.reached
    end
    from catching_up c
$function$;
