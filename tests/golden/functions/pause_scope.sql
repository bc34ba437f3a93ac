CREATE OR REPLACE FUNCTION relay.pause_scope(scope text, until timestamp with time zone, reason text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    perform pause_scope(scope, until, reason, session_user, null);
end
$function$;

CREATE OR REPLACE FUNCTION relay.pause_scope(scope text, until timestamp with time zone, reason text, actor text, selection json, seen timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    if until = 'infinity' then
        until := null;
    end if;
    if until < now() or until >= timestamp '9999-12-31' at time zone 'UTC' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a pause must end between now and the year 9999',
            hint = 'null: until somebody resumes it.';
    end if;
    if seen > '-infinity' then
        update pause p set until = pause_scope.until, reason = pause_scope.reason, error_code = null,
            credential = null, since = clock_timestamp(), by = actor
        where p.scope = pause_scope.scope and p.since = seen;
    else
        insert into pause (scope, until, reason, by) values (scope, until, reason, actor)
        on conflict on constraint pause_pkey do update set until = excluded.until, reason = excluded.reason,
            error_code = null, credential = null, since = excluded.since, by = excluded.by
            where seen is null or pause.until <= now();
    end if;
    if not found then
        if seen is not null then
            perform record_action('pause', actor, reason,
                true_selection(array['scope', 'left_alone_why'],
                    array[to_json(scope), json_build_object('it has changed since you looked', 1)], selection),
                null, 0);
        end if;
        return null;
    end if;
    return record_action('pause', actor, reason,
        true_selection(array['scope', 'until'], array[to_json(scope), to_json(until)], selection), null, 0);
end
$function$;
