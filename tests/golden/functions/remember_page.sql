CREATE OR REPLACE FUNCTION relay.remember_page(batch integer, INOUT reached bigint, last bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    page bigint[] := array(
        select o.id from outbox_archive o where o.id > reached and o.id <= last order by o.id limit batch);
begin
    insert into dedupe (account, dedupe_key, message_id)
    select o.account, o.dedupe_key, o.id from outbox_archive o
    where o.id = any (page) and o.dedupe_key is not null order by o.id
    on conflict on constraint dedupe_pkey do nothing;
    reached := case when cardinality(page) < batch then last else page[cardinality(page)] end;
end
$function$;
