CREATE OR REPLACE FUNCTION relay.catch_up(batch integer, OUT step text, OUT reached bigint, OUT last bigint, OUT stuck boolean)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    before bigint;
begin
    lock table catching_up in share row exclusive mode;
    select c.step, c.reached, c.last into step, before, last from catching_up c
    order by array_position(array['keys', 'ledger', 'outbox', 'archive', 'index'], c.step) limit 1;
    if step is null then
        return;
    end if;
    if before < 0 and step in ('ledger', 'outbox', 'archive') then
        perform record_salting(step, last);
    end if;
    case step
        when 'keys' then reached := remember_page(batch, before, last);
        when 'ledger' then reached := salt_ledger(before, last);
        when 'outbox' then reached := salt_page('outbox', batch, before, last);
        when 'archive' then reached := salt_page('outbox_archive', batch, before, last);
        when 'index' then reached := index_month(last);
    end case;
    stuck := reached <= before and reached < last;
    if reached >= last then
        delete from catching_up c where c.step = catch_up.step;
    else
        update catching_up c set reached = catch_up.reached where c.step = catch_up.step;
    end if;
end
$function$;
