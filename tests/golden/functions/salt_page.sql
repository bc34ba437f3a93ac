CREATE OR REPLACE FUNCTION relay.salt_page(of_table text, batch integer, INOUT reached bigint, last bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    page bigint[];
    free bigint[];
    locked bigint;
begin
    execute format('select array(select o.id from %I o where o.id > $1 and o.id <= $2 order by o.id limit $3)',
        of_table) into page using reached, last, batch;
    execute format('select array(select o.id from %I o where o.id = any ($1) and o.content_salt is null '
        'order by o.id for update skip locked)', of_table) into free using page;
    perform salt_messages(free);
    execute format('select min(o.id) from %I o where o.id = any ($1) and o.content_salt is null', of_table)
        into locked using page;
    reached := case when locked is not null then locked - 1
        when cardinality(page) < batch then last else page[cardinality(page)] end;
end
$function$;
