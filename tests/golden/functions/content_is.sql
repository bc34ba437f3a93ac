CREATE OR REPLACE FUNCTION relay.content_is(question bigint)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    asked record;
    same boolean;
begin
    select a.message_ids[1] as message_id, a.selection ->> 'asked_sha256' as sha256 into asked
    from action a
    where a.id = question and a.action = 'compare' and a.db_user = session_user
      and a.selection ->> 'xid' is distinct from cast(pg_current_xact_id_if_assigned() as text);
    if not found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = concat('you have asked no question ', question, ' that is committed'),
            hint = 'Commit relay.ask_content(id, content, reason) first; it gives back the number.';
    end if;
    select encode(sha256(m.content_salt || convert_to('asked ' || cast(m.content as text), 'UTF8')), 'hex')
        = asked.sha256 into same
    from (
        select o.id, o.content, o.content_salt from outbox o
        union all
        select a.id, a.content, a.content_salt from outbox_archive a
    ) as m
    where m.id = asked.message_id and m.content_salt <> '';
    return same;
end
$function$;
