CREATE OR REPLACE FUNCTION relay.keep_evidence()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
declare
    content pg_catalog.text := cast(new.content as pg_catalog.text);
begin
    if (new.status operator(pg_catalog.=) 'pending' and new.attempts operator(pg_catalog.>=) 0
        and pg_catalog.octet_length(new.topic) operator(pg_catalog.<=) 256 and pg_catalog.octet_length(new.account) operator(pg_catalog.<=) 256
        and content operator(pg_catalog.<>) '{"redacted": true}' and new.available_at is not null) is not true
        or new.finished_at is not null
        or new.topic operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]|^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'
        or new.account operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]|^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'
        or pg_catalog.octet_length(new.ordering_key) operator(pg_catalog.>) 256 or new.ordering_key operator(pg_catalog.=) ''
        or pg_catalog.octet_length(new.dedupe_key) operator(pg_catalog.>) 256 or new.dedupe_key operator(pg_catalog.=) ''
        or coalesce(new.target_group, new.target_app_key, new.producer) is not null
        or new.headers is not null or new.json_ex_content is not null or new.deliver_before is not null
        or greatest(new.available_at, new.created_at) operator(pg_catalog.>=) cast('9999-12-31 00:00+00' as timestamp with time zone)
        or least(new.available_at, new.created_at) operator(pg_catalog.<) cast('0001-01-02 00:00+00' as timestamp with time zone)
    then
        if new.topic is null
        or new.content is null
        or new.account is null
        or new.available_at is null
        or new.status is null
        or new.attempts is null
        or new.status operator(pg_catalog.<>) all (array['pending', 'done', 'failed'])
        or new.attempts operator(pg_catalog.<) 0
        or (new.status operator(pg_catalog.=) 'pending') operator(pg_catalog.<>) (new.finished_at is null)
        or new.status operator(pg_catalog.=) 'done' and (new.call_id is null or new.result_index is null)
        or pg_catalog.length(new.topic) operator(pg_catalog.>) 256 or new.topic operator(pg_catalog.~) E'^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'
        or new.account operator(pg_catalog.~) E'^[\\s\\u00a0\\u1680\\u2000-\\u200d\\u202f\\u205f\\u3000\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]*$'
        or new.ordering_key operator(pg_catalog.=) ''
        then
            execute pg_catalog.concat(
                'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_message($1, ''unsound'')') using new;
        end if;
        if new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id() then
            if pg_catalog.octet_length(new.account) operator(pg_catalog.>) 256
        or pg_catalog.octet_length(new.target_group) operator(pg_catalog.>) 256
        or pg_catalog.octet_length(new.target_app_key) operator(pg_catalog.>) 256
        or pg_catalog.octet_length(new.ordering_key) operator(pg_catalog.>) 512
        or pg_catalog.octet_length(new.dedupe_key) operator(pg_catalog.>) 512
        or pg_catalog.octet_length(new.producer) operator(pg_catalog.>) 256
        or pg_catalog.octet_length(cast(new.json_ex_content as pg_catalog.text)) operator(pg_catalog.>) 122880
        or pg_catalog.octet_length(cast(new.headers as pg_catalog.text)) operator(pg_catalog.>) 16384
        or new.topic operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]'
        or new.account operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]'
        or new.target_group operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]'
        or new.target_app_key operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]'
        or new.producer operator(pg_catalog.~) E'[\\u0001-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2060-\\u206f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff]'
        or new.dedupe_key operator(pg_catalog.=) ''
        or content operator(pg_catalog.=) '{"redacted": true}'
            then
                execute pg_catalog.concat(
                'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_message($1, ''limits'')') using new;
            end if;
            if new.available_at operator(pg_catalog.>=) cast('9999-12-31 00:00+00' as timestamp with time zone) and not (new.available_at operator(pg_catalog.=) cast('infinity' as timestamp with time zone) and (new.attempts operator(pg_catalog.>) 0 or new.error_code is not null))
        or new.available_at operator(pg_catalog.<) cast('0001-01-02 00:00+00' as timestamp with time zone) and new.available_at operator(pg_catalog.>) cast('-infinity' as timestamp with time zone)
        or new.deliver_before operator(pg_catalog.>=) cast('9999-12-31 00:00+00' as timestamp with time zone) and new.deliver_before operator(pg_catalog.<) cast('infinity' as timestamp with time zone)
        or new.deliver_before operator(pg_catalog.<) cast('0001-01-02 00:00+00' as timestamp with time zone)
        or new.created_at operator(pg_catalog.>=) cast('9999-12-31 00:00+00' as timestamp with time zone) or new.created_at operator(pg_catalog.<) cast('0001-01-02 00:00+00' as timestamp with time zone)
        or new.finished_at operator(pg_catalog.>=) cast('9999-12-31 00:00+00' as timestamp with time zone) or new.finished_at operator(pg_catalog.<) cast('0001-01-02 00:00+00' as timestamp with time zone)
            then
                execute pg_catalog.concat(
                'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_message($1, ''years'')') using new;
            end if;
        end if;
    end if;
    if new.dedupe_key is not null then
        if new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id()
            and exists (
                select from relay.dedupe d
                where d.account operator(pg_catalog.=) new.account and d.dedupe_key operator(pg_catalog.=) new.dedupe_key)
        then
            return null;
        end if;
    end if;
    if new.content_sha256 is null or new.content_salt is null and content operator(pg_catalog.<>) '{"redacted": true}'
    then
        new.content_salt := pg_catalog.uuid_send(pg_catalog.gen_random_uuid());
        new.content_sha256 := pg_catalog.sha256(
            new.content_salt operator(pg_catalog.||) pg_catalog.convert_to(content, 'UTF8'));
    end if;
    if (new.id operator(pg_catalog.>)
            cast('0' operator(pg_catalog.||) pg_catalog.current_setting('relay.last_id', true) as bigint)
        and 1000 operator(pg_catalog.*) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) operator(pg_catalog.<)
            cast('0' operator(pg_catalog.||) pg_catalog.current_setting('relay.look_again', true) as bigint)
        and new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id()) is not true
    then
        execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.unused_id($1, $2)')
            into new.id using new.id, new.created_xid;
    end if;
    return new;
end
$function$;

CREATE TRIGGER outbox_keeps_evidence BEFORE INSERT ON relay.outbox FOR EACH ROW EXECUTE FUNCTION relay.keep_evidence();
