CREATE OR REPLACE FUNCTION relay.keep_attempt()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    of_its_call boolean := exists (
        select from call c cross join outbox o
        where c.id = new.call_id and c.message_ids[new.result_index + 1] = new.message_id
          and o.id = new.message_id and (o.status = 'pending' or o.finished_at = now())
          and (new.retry_at is null or new.retry_at = o.available_at)
          and (c.settled_at = now() or c.settled_at is null and o.finished_at = now()));
    now_and_short boolean := (
        new.at <> now() or now() < clock_timestamp() - interval '10 minutes' or octet_length(new."error_code") > 1000 or octet_length(new."error_message") > 8000) is not true;
begin
    if of_its_call and now_and_short or pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
        return new;
    end if;
    if octet_length(new."error_code") > 1000 or octet_length(new."error_message") > 8000 then
        raise exception using
            errcode = 'restrict_violation', message = 'a code has at most 1000 bytes, a name 1000, the text of an error 8000', hint = 'Cut it, and keep it elsewhere.';
    end if;
    if not now_and_short then
        raise exception using
            errcode = 'restrict_violation',
            message = 'an attempt bears the time at which it is recorded',
            hint = 'Leave the column at out, and begin a new transaction.';
    end if;
    raise exception using
        errcode = 'restrict_violation',
        message = 'an attempt is of a call that is just settled and names this message there, due when it says',
        hint = 'It is written in the transaction that settles the call.';
end
$function$;

CREATE TRIGGER attempt_is_kept BEFORE INSERT ON relay.attempt FOR EACH ROW EXECUTE FUNCTION relay.keep_attempt();
