create view relay.read_attempt_archive as
 SELECT message_id,
    call_id,
    result_index,
    outcome,
    error_code,
    relay.mask_text(error_message) AS error_message,
    at,
    NULLIF(NULLIF(retry_at, 'infinity'::timestamp with time zone), '-infinity'::timestamp with time zone) AS retry_at
   FROM relay.attempt_archive a;

comment on view relay.read_attempt_archive is 'Archived outcomes as relay show reads them / relay show 读取的已归档发送结果';
