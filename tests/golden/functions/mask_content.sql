CREATE OR REPLACE FUNCTION relay.mask_content(content json, pointers text[])
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET debug_print_plan TO 'off'
 SET debug_print_parse TO 'off'
 SET debug_print_rewritten TO 'off'
 SET standard_conforming_strings TO 'on'
AS $function$
declare
    value jsonb;
    pointer text;
begin
    if cast(content as text) ~ '[0-9][eE][+-]?[0-9]{3}'
        and regexp_replace(cast(content as text), '"([^"\\]|\\.)*"', '""', 'g') ~ '[0-9][eE][+-]?[0-9]{3}'
    then
        return '{"masked": "cannot be shown"}';
    end if;
    value := cast(content as jsonb);
    foreach pointer in array pointers loop
        value := mask_at(value, string_to_array(
            replace(replace(replace(substr(pointer, 2), '/', chr(1)), '~1', '/'), '~0', '~'), chr(1)));
    end loop;
    if position('\' in cast(value as text)) = 0 and mask_text(cast(value as text)) = cast(value as text) then
        return value;
    end if;
    return mask_value(value);
exception when others then
    return '{"masked": "cannot be shown"}';
end
$function$;
