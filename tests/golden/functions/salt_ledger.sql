CREATE OR REPLACE FUNCTION relay.salt_ledger(reached bigint, last bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    entry bigint := (select min(a.id) from action a where a.id > reached and a.id <= last
                     and a.action = 'redact' and a.selection -> 'sha256' is not null);
    salted jsonb;
    door text := coalesce(current_setting('relay.salting', true), '');
begin
    if entry is null then
        return last;
    end if;
    perform set_config('relay.salting', 'on', true);
    with told as materialized (
        select cast(removed.key as bigint) as id, removed.value as hashes,
            uuid_send(gen_random_uuid()) as salt
        from action a cross join lateral json_each(a.selection -> 'sha256') as removed
        where a.id = entry
    ),
    hot as (
        update outbox o set content_salt = '', content_sha256 = sha256(told.salt || o.content_sha256)
        from told where o.id = told.id and o.content_salt is null
            and cast(o.content as text) = '{"redacted": true}'
            and encode(o.content_sha256, 'hex') = told.hashes ->> 'content'
    ),
    archived as (
        update outbox_archive o set content_salt = '', content_sha256 = sha256(told.salt || o.content_sha256)
        from told where o.id = told.id and o.content_salt is null
            and cast(o.content as text) = '{"redacted": true}'
            and encode(o.content_sha256, 'hex') = told.hashes ->> 'content'
    )
    select jsonb_object_agg(told.id, (
        select jsonb_object_agg(plain.key, encode(sha256(told.salt || decode(plain.value, 'hex')), 'hex'))
        from json_each_text(told.hashes) as plain))
    into salted from told;
    update action a set selection = cast((cast(a.selection as jsonb) - 'sha256')
        || jsonb_build_object('salted_sha256', coalesce(salted, '{}')) as json)
    where a.id = entry;
    perform set_config('relay.salting', door, true);
    return entry;
end
$function$;
