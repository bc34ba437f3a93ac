CREATE OR REPLACE FUNCTION relay.keep_end()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if new.available_at is null
        or new.status is null
        or new.attempts is null
        or new.status operator(pg_catalog.<>) all (array['pending', 'done', 'failed'])
        or new.attempts operator(pg_catalog.<) 0
        or (new.status operator(pg_catalog.=) 'pending') operator(pg_catalog.<>) (new.finished_at is null)
        or new.status operator(pg_catalog.=) 'done' and (new.call_id is null or new.result_index is null)
    then
        raise exception using
            errcode = case when new.available_at is null or new.status is null or new.attempts is null then 'not_null_violation' else 'check_violation' end,
            table = 'outbox', constraint = coalesce(case when new.status operator(pg_catalog.<>) all (array['pending', 'done', 'failed']) then 'outbox_status_known' when new.attempts operator(pg_catalog.<) 0 then 'outbox_attempts_not_negative' when (new.status operator(pg_catalog.=) 'pending') operator(pg_catalog.<>) (new.finished_at is null) then 'outbox_finished_when_not_pending' when new.status operator(pg_catalog.=) 'done' and (new.call_id is null or new.result_index is null) then 'outbox_done_names_its_call' end, ''),
            message = concat('new row for relation "outbox" violates check constraint "',
                case when new.available_at is null or new.status is null or new.attempts is null then 'not null' when new.status operator(pg_catalog.<>) all (array['pending', 'done', 'failed']) then 'outbox_status_known' when new.attempts operator(pg_catalog.<) 0 then 'outbox_attempts_not_negative' when (new.status operator(pg_catalog.=) 'pending') operator(pg_catalog.<>) (new.finished_at is null) then 'outbox_finished_when_not_pending' when new.status operator(pg_catalog.=) 'done' and (new.call_id is null or new.result_index is null) then 'outbox_done_names_its_call' end, '"'),
            hint = 'The relay alone changes what became of a message.';
    end if;
    if (
        old.status <> 'pending'
        or new.status <> 'pending' and (new.finished_at <> now() or now() < clock_timestamp() - interval '10 minutes')
        or new.attempts - old.attempts not between 0 and 1
        or (new.available_at < timestamp '0001-01-02' at time zone 'UTC' or new.available_at >= timestamp '9999-12-31' at time zone 'UTC' and new.available_at < 'infinity')
            and new.available_at is distinct from old.available_at
        or new.error_code = 'relay.discarded'
            and (new.status = 'failed' or old.error_code is distinct from new.error_code)
        or new.error_code = 'relay.expired' and new.status = 'failed'
            and (new.deliver_before <= now()) is not true
        or
        (octet_length(new."error_code") > 1000 or octet_length(new."error_message") > 8000)
        and (new.error_code, new.error_message) is distinct from (old.error_code, old.error_message)) is not true
    then
        return new;
    end if;
    if pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage')
    then
        return new;
    end if;
    if
        (octet_length(new."error_code") > 1000 or octet_length(new."error_message") > 8000)
        and (new.error_code, new.error_message) is distinct from (old.error_code, old.error_message)
    then
        raise exception using
            errcode = 'restrict_violation', message = 'a code has at most 1000 bytes, a name 1000, the text of an error 8000', hint = 'Cut it, and keep it elsewhere.';
    end if;
    raise exception using
        errcode = 'restrict_violation',
        message = 'a message ends once, at the time of its end, by an attempt that counts',
        hint = 'What has ended is changed by relay retry, discard and redact alone.';
end
$function$;

CREATE TRIGGER outbox_ends_stay BEFORE UPDATE ON relay.outbox FOR EACH ROW WHEN ((((new.status = 'done'::text) AND (old.status = 'pending'::text) AND (new.finished_at = now()) AND (clock_timestamp() < (now() + '00:10:00'::interval)) AND (new.attempts = (old.attempts + 1)) AND (new.available_at = old.available_at) AND (new.call_id IS NOT NULL) AND (new.result_index IS NOT NULL) AND (NOT (new.error_code IS DISTINCT FROM old.error_code)) AND (NOT (new.error_message IS DISTINCT FROM old.error_message))) IS NOT TRUE)) EXECUTE FUNCTION relay.keep_end();
