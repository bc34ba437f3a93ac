CREATE OR REPLACE FUNCTION relay.true_selection(keys text[], facts json[], stated json)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    words constant text := cast(stated as text);
begin
    if cast(stated as jsonb) is null then
        stated := null;
    elsif octet_length(words) > 100000 then
        stated := json_build_object('bytes', octet_length(words),
            'sha256', encode(sha256(convert_to(words, 'UTF8')), 'hex'));
    end if;
    return (
        select cast(concat('{', string_agg(concat(to_json(key), ': ', fact), ', ' order by position), '}') as json)
        from unnest(array_append(keys, 'stated'), array_append(facts, stated)) with ordinality
            as told (key, fact, position)
        where json_typeof(fact) <> 'null');
end
$function$;
