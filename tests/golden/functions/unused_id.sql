CREATE OR REPLACE FUNCTION relay.unused_id(id bigint, created_xid xid8)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET enable_sort TO 'off'
 SET exit_on_error TO 'off'
AS $function$
declare
    given boolean := true;
begin
    if created_xid = pg_current_xact_id() then
        begin
            given := id <> currval('outbox_id_seq');
        exception when object_not_in_prerequisite_state then
            null;  -- this session has drawn none
        end;
    end if;
    if given then
        perform set_config('relay.look_again', '', false);
        return id;
    end if;
    if id = 1 or (
        select exists (select from outbox taken where taken.id = unused_id.id) or (
            select beyond.id from outbox beyond
            where beyond.id > drawn.last_value order by beyond.id limit 1) is not null
        from outbox_id_seq drawn)
    then
        perform step_over_used_ids('outbox');
        if pg_sequence_last_value('outbox_id_seq') > id
            or exists (select from outbox taken where taken.id = unused_id.id)
        then
            id := nextval('outbox_id_seq');
        end if;
    end if;
    perform set_config('relay.last_id', cast(id as text), false);
    perform set_config('relay.look_again',
        cast(cast(date_part('epoch', clock_timestamp()) * 1000 + 100 as bigint) as text), false);
    return id;
end
$function$;
