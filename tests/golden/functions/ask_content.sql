CREATE OR REPLACE FUNCTION relay.ask_content(id bigint, content text, reason text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    salt bytea;
    said bytea := convert_to('asked ' || ask_content.content, 'UTF8');
    question bigint;
begin
    select m.content_salt into salt
    from (
        select o.id, o.content_salt from outbox o union all select a.id, a.content_salt from outbox_archive a
    ) as m
    where m.id = ask_content.id;
    if found and salt is null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = concat('the hash of message ', ask_content.id, ' has no salt yet'),
            hint = 'Let relay migrate go on until relay check says that none is left.';
    end if;
    insert into action (actor, action, reason, selection, message_ids, count)
    values (session_user, 'compare', ask_content.reason, json_build_object(
        'asked_sha256', encode(sha256(nullif(salt, '') || said), 'hex'),
        'xid', cast(pg_current_xact_id() as text)), array[ask_content.id], 1)
    returning action.id into question;
    return question;
end
$function$;
