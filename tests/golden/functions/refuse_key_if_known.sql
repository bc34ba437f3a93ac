CREATE OR REPLACE FUNCTION relay.refuse_key_if_known(account text, dedupe_key text, id bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET exit_on_error TO 'off'
AS $function$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        begin
            insert into dedupe (account, dedupe_key, message_id) values ($1, $2, $3);
            raise exception using errcode = 'RL001';
        exception
            when unique_violation then
                null;
            when sqlstate 'RL001' then
                return;
        end;
    end if;
    raise exception using
        errcode = 'serialization_failure',
        message = 'the message with this dedupe key is just being archived',
        hint = 'Begin the transaction once more: then the key is known, and the insert does nothing.';
end
$function$;
