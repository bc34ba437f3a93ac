CREATE OR REPLACE FUNCTION relay.unused_call_id(id bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET enable_sort TO 'off'
 SET exit_on_error TO 'off'
AS $function$
declare
    last bigint := cast(nullif(current_setting('relay.last_call', true), '') as bigint);
    given boolean := true;
begin
    begin
        given := id <> currval('call_id_seq');
    exception when object_not_in_prerequisite_state then
        null;  -- this session has drawn none
    end;
    if not given and (last is null or id <= last or (
        select exists (select from call taken where taken.id = unused_call_id.id) or (
            select beyond.id from call beyond
            where beyond.id > drawn.last_value order by beyond.id limit 1) is not null
        from call_id_seq drawn))
    then
        perform step_over_used_ids('call');
        if pg_sequence_last_value('call_id_seq') > id then
            id := nextval('call_id_seq');
        end if;
    end if;
    perform set_config('relay.last_call', cast(id as text), false);
    perform set_config('relay.look_at_calls',
        cast(1 + cast(ceil(date_part('epoch', clock_timestamp())) as bigint) as text), false);
    return id;
end
$function$;
