CREATE OR REPLACE FUNCTION relay.lift_pauses(scopes text[], credentials text[])
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    return query
    with lifted as materialized (
        select p.scope, p.credential from pause p
        join unnest(scopes, credentials) as v (scope, credential)
            on p.scope = v.scope and p.credential = v.credential
        order by p.scope for update of p)
    delete from pause p using lifted where p.scope = lifted.scope and p.credential = lifted.credential
    returning p.scope;
end
$function$;
