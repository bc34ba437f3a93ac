CREATE OR REPLACE FUNCTION relay.resume_scope(scope text, reason text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
begin
    return resume_scope(scope, reason, session_user, null) is not null;
end
$function$;

CREATE OR REPLACE FUNCTION relay.resume_scope(scope text, reason text, actor text, selection json, seen timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    ended pause;
begin
    delete from pause p
    where p.scope = resume_scope.scope and (p.until is null or p.until > now())
      and (seen is null or p.since = seen)
    returning * into ended;
    if not found then
        if seen is not null then
            perform record_action('resume', actor, reason,
                true_selection(array['scope', 'left_alone_why'],
                    array[to_json(scope), json_build_object('it has changed since you looked', 1)], selection),
                null, 0);
        end if;
        return null;
    end if;
    return record_action('resume', actor, reason,
        true_selection(array['scope', 'until', 'since', 'by'],
            array[to_json(scope), to_json(ended.until), to_json(ended.since), to_json(ended."by")], selection),
        null, 0);
end
$function$;
