CREATE OR REPLACE FUNCTION relay.salt_messages(ids bigint[])
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    salted integer;
    archived integer;
    door text := coalesce(current_setting('relay.salting', true), '');
begin
    perform set_config('relay.salting', 'on', true);
    update outbox o
    set content_salt = case when cast(o.content as text) = '{"redacted": true}' then '' else fresh.salt end,
        content_sha256 = sha256(fresh.salt
            || case when sha256(convert_to(cast(o.content as text), 'UTF8')) = o.content_sha256
                    then convert_to(cast(o.content as text), 'UTF8') else o.content_sha256 end)
    from (select id, uuid_send(gen_random_uuid()) as salt from unnest(ids) as id offset 0) as fresh
    where o.id = fresh.id and o.content_salt is null;
    get diagnostics salted = row_count;
    update outbox_archive o
    set content_salt = case when cast(o.content as text) = '{"redacted": true}' then '' else fresh.salt end,
        content_sha256 = sha256(fresh.salt
            || case when sha256(convert_to(cast(o.content as text), 'UTF8')) = o.content_sha256
                    then convert_to(cast(o.content as text), 'UTF8') else o.content_sha256 end)
    from (select id, uuid_send(gen_random_uuid()) as salt from unnest(ids) as id offset 0) as fresh
    where o.id = fresh.id and o.content_salt is null;
    get diagnostics archived = row_count;
    perform set_config('relay.salting', door, true);
    return salted + archived;
end
$function$;
