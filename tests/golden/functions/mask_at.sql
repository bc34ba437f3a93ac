CREATE OR REPLACE FUNCTION relay.mask_at(value jsonb, path text[])
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    hidden constant jsonb := '"***"';
    reached jsonb[] := array[value];  -- the values of all levels, one level after another
    below integer[] := '{}';  -- how many of the next level are of this one; -1: a member that is called *
    firsts integer[] := '{}';
    steps integer[] := '{}';  -- where in the path the steps of a level begin
    first integer := 1;
    last integer := 1;
    total integer := 1;
    step integer := 1;
    star integer;
    child integer;
    inside jsonb;
    elements text[];
begin
    loop
        star := coalesce(array_position(path, '*', step), cardinality(path) + 1);
        firsts := firsts || first;
        steps := steps || step;
        exit when star > cardinality(path);
        for nth in first .. last loop
            inside := reached[nth] #> path[step : star - 1];
            below[nth] := 0;
            if jsonb_typeof(inside) = 'array' then
                below[nth] := jsonb_array_length(inside);
                for place in 1 .. below[nth] loop
                    reached[total + place] := inside -> (place - 1);
                end loop;
            elsif jsonb_exists(inside, '*') and jsonb_typeof(inside) = 'object' then
                below[nth] := -1;
                reached[total + 1] := inside -> '*';
            end if;
            total := total + abs(below[nth]);
        end loop;
        first := last + 1;
        last := total;
        step := star + 1;
    end loop;
    for nth in first .. last loop
        if step > cardinality(path) then
            reached[nth] := hidden;
        elsif reached[nth] #> path[step:] is not null then
            reached[nth] := jsonb_set(reached[nth], path[step:], hidden);
        end if;
    end loop;
    for level in reverse cardinality(steps) - 1 .. 1 loop
        child := firsts[level + 1];
        star := steps[level + 1] - 1;
        for nth in firsts[level] .. firsts[level + 1] - 1 loop
            if below[nth] = -1 then
                reached[nth] := jsonb_set(reached[nth], path[steps[level] : star], reached[child]);
            elsif below[nth] > 0 then
                elements := '{}';
                for place in 1 .. below[nth] loop
                    elements[place] := cast(reached[child + place - 1] as text);
                end loop;
                inside := cast(concat('[', array_to_string(elements, ','), ']') as jsonb);
                reached[nth] := case when star = steps[level] then inside
                    else jsonb_set(reached[nth], path[steps[level] : star - 1], inside) end;
            end if;
            child := child + abs(below[nth]);
        end loop;
    end loop;
    return reached[1];
end
$function$;
