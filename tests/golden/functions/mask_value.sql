CREATE OR REPLACE FUNCTION relay.mask_value(value jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
declare
    parts text[] := string_to_array(
        replace(replace(cast(value as text), '\\', '\u005c'), '\"', '\u0022'), '"');
    numbers text[];
    part text;
    said text;
    masked text;
begin
    for nth in 1 .. cardinality(parts) loop
        part := parts[nth];
        if octet_length(part) < 5 then
            continue;
        elsif nth % 2 = 1 then
            if octet_length(part) < 11 or mask_text(part) = part then
                continue;
            end if;
            numbers := string_to_array(part, ',');
            for place in 1 .. cardinality(numbers) loop
                said := substring(numbers[place] from '-?[0-9][0-9.eE+-]*');
                masked := mask_text(said);
                if masked <> said then
                    numbers[place] := replace(numbers[place], said, concat('"', masked, '"'));
                end if;
            end loop;
            parts[nth] := array_to_string(numbers, ',');
        elsif position('\' in part) = 0 then
            parts[nth] := mask_text(part);
        else
            said := cast(concat('"', part, '"') as jsonb) #>> '{}';
            masked := mask_text(said);
            if masked <> said then
                masked := cast(to_jsonb(masked) as text);
                parts[nth] := substr(masked, 2, length(masked) - 2);
            end if;
        end if;
    end loop;
    return cast(array_to_string(parts, '"') as jsonb);
end
$function$;
