CREATE OR REPLACE FUNCTION relay.forget_keys(before timestamp with time zone, batch integer, actor text, reason text)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    forgotten integer;
begin
    if before > now() - interval '1 day' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a dedupe key is kept for a day at least after its message has left, and this is later: '
                || before,
            hint = 'Name an earlier time, for example: now() - interval ''400 days''';
    end if;
    with gone as (
        select d.account, d.dedupe_key from dedupe d where d.left_at < before
        order by d.left_at limit batch for update skip locked
    )
    delete from dedupe d using gone where d.account = gone.account and d.dedupe_key = gone.dedupe_key;
    get diagnostics forgotten = row_count;
    if forgotten > 0 then
        perform record_action('forget', actor, reason,
            json_build_object('table', 'dedupe', 'before', before), null, forgotten);
    end if;
    return forgotten;
end
$function$;
