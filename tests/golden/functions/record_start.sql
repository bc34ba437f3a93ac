CREATE OR REPLACE FUNCTION relay.record_start(worker text, version text, settings json)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    if octet_length(cast(settings as text)) > 20000
        or regexp_replace(cast(settings as text), E'"(\\\\.|[^"\\\\])*"', '', 'g') ~* '[0-9.]e[+]?[0-9]{3}'
        or octet_length(cast(cast(settings as jsonb) as text)) > 20000
        or octet_length(worker) > 300 or octet_length(version) > 100
    then
        raise exception using
            errcode = 'program_limit_exceeded',
            message = 'what a worker tells of its start is too long for the ledger';
    end if;
    return record_action('start', worker, 'a worker started',
        true_selection(array['version', 'settings'],
            array[to_json(version), cast(cast(settings as jsonb) as json)], null), null, 0);
end
$function$;
