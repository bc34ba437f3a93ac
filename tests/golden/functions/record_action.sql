CREATE OR REPLACE FUNCTION relay.record_action(verb text, actor text, reason text, selection json, changed bigint[], number integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    together constant integer := 10000;
    parts integer := greatest(1, (coalesce(cardinality(changed), 0) + together - 1) / together);
    recorded bigint;
begin
    if octet_length(actor) > 1000 or octet_length(reason) > 10000 then
        raise exception using
            errcode = 'program_limit_exceeded',
            message = 'a name for the ledger has at most 1000 bytes, and a reason 10000';
    end if;
    insert into action (actor, action, reason, selection, message_ids, count)
    values (actor, verb, reason, selection, changed[1 : together],
        case when parts > 1 then together else number end)
    returning id into recorded;
    insert into action (actor, action, reason, selection, message_ids, count)
    select actor, verb, reason, json_build_object('continues', recorded, 'part', part, 'parts', parts),
        changed[(part - 1) * together + 1 : part * together],
        cardinality(changed[(part - 1) * together + 1 : part * together])
    from generate_series(2, parts) as part order by part;
    return recorded;
end
$function$;
