create view relay.read_attempt as
 SELECT message_id,
    call_id,
    result_index,
    outcome,
    error_code,
    relay.mask_text(error_message) AS error_message,
    at,
    NULLIF(NULLIF(retry_at, 'infinity'::timestamp with time zone), '-infinity'::timestamp with time zone) AS retry_at
   FROM relay.attempt a;

comment on view relay.read_attempt is 'What calls meant for messages, as relay show reads it / relay show 读取的发送结果';
