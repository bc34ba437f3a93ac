CREATE OR REPLACE FUNCTION relay.refuse_message(message relay.outbox, what text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    named text;
    size integer;
    most integer;
begin
    if what = 'unsound' then
        select columns.named into named from (values ('topic', cast(message.topic as text)), ('content', cast(message.content as text)), ('account', cast(message.account as text)), ('available_at', cast(message.available_at as text)), ('status', cast(message.status as text)), ('attempts', cast(message.attempts as text))) as columns (named, value)
        where columns.value is null limit 1;
        if found then
            raise exception using
                errcode = 'not_null_violation', table = 'outbox', column = named,
                message = concat('null value in column "', named, '" of relation "outbox"'),
                hint = case when named in ('topic', 'content') then 'Every message has one.'
                    else 'Leave the column out: it has a default.' end;
        end if;
        select checks.named into named from (values
            ('outbox_topic_within_limit', pg_catalog.length(message.topic) operator(pg_catalog.>) 256 or message.topic operator(pg_catalog.~) E'^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'),
            ('outbox_account_not_blank', message.account operator(pg_catalog.~) E'^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'),
            ('outbox_ordering_key_not_empty', message.ordering_key operator(pg_catalog.=) ''),
            ('outbox_status_known', message.status operator(pg_catalog.<>) all (array['pending', 'done', 'failed'])),
            ('outbox_attempts_not_negative', message.attempts operator(pg_catalog.<) 0),
            ('outbox_finished_when_not_pending', (message.status operator(pg_catalog.=) 'pending') operator(pg_catalog.<>) (message.finished_at is null)),
            ('outbox_done_names_its_call', message.status operator(pg_catalog.=) 'done' and (message.call_id is null or message.result_index is null))
        ) as checks (named, broken) where checks.broken limit 1;
        raise exception using
            errcode = 'check_violation', table = 'outbox', constraint = named,
            message = concat('new row for relation "outbox" violates check constraint "', named, '"'),
            hint = case named
                when 'outbox_topic_within_limit'
                then 'A topic has a visible character, and 256 characters at most.'
                when 'outbox_account_not_blank' then 'Leave the account out for the one named default.'
                when 'outbox_ordering_key_not_empty' then 'Leave it out (null) for a message without one.'
                else 'The relay alone changes what became of a message.' end;
    elsif what = 'years' and message.available_at = 'infinity' then
        raise exception using
            errcode = 'check_violation',
            message = 'available_at is infinity, and a message that is never due cannot be inserted',
            hint = 'Insert it when it is to go, or pause its account.';
    elsif what = 'years' then
        raise exception using
            errcode = 'check_violation',
            message = 'a time of this message is outside the years 1 to 9999, without their first and last day',
            hint = 'Milliseconds taken for seconds? to_timestamp takes seconds.';
    end if;
    select columns.* into named, size, most from (values
            ('account', octet_length(cast(message.account as text)), 256),
            ('target_group', octet_length(cast(message.target_group as text)), 256),
            ('target_app_key', octet_length(cast(message.target_app_key as text)), 256),
            ('ordering_key', octet_length(cast(message.ordering_key as text)), 512),
            ('dedupe_key', octet_length(cast(message.dedupe_key as text)), 512),
            ('producer', octet_length(cast(message.producer as text)), 256),
            ('json_ex_content', octet_length(cast(message.json_ex_content as text)), 122880),
            ('headers', octet_length(cast(message.headers as text)), 16384)
        ) as columns (named, size, most) where columns.size > columns.most limit 1;
    if found then
        raise exception using
            errcode = 'check_violation', column = named,
            message = concat(named, ' has ', size, ' bytes, the outbox takes at most ', most),
            hint = 'Keep what is large elsewhere and insert a reference to it.';
    end if;
    select columns.named into named from (values ('topic', message.topic), ('account', message.account), ('target_group', message.target_group), ('target_app_key', message.target_app_key), ('producer', message.producer)) as columns (named, value)
    where columns.value ~ case getdatabaseencoding() when 'UTF8' then E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]' else E'[\\u0001-\\u001f\\u007f]' end limit 1;
    if found then
        raise exception using
            errcode = 'check_violation', column = named,
            message = concat(named, ' has a control character, or one that nobody sees'),
            hint = 'A line feed, an escape sequence, a mark without width: leave it out.';
    end if;
    if message.dedupe_key = '' then
        raise exception using
            errcode = 'check_violation', column = 'dedupe_key',
            message = 'dedupe_key is empty, and all messages with an empty one would count as the same',
            hint = 'Leave it out (null) for a message without one.';
    end if;
    if cast(message.content as text) = '{"redacted": true}' then
        raise exception using
            errcode = 'check_violation', column = 'content',
            message = 'content is what relay redact leaves behind, which nobody else may write',
            hint = 'Call it something else than redacted.';
    end if;
end
$function$;
