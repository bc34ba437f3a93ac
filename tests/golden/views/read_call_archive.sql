create view relay.read_call_archive as
 SELECT id,
    account,
    worker,
    message_ids,
    parent_id,
    claimed_at,
    lease_until,
    sent_at,
    settled_at,
    outcome,
    http_status,
    request_id,
    error_code,
    sub_code,
    relay.mask_text(error_message) AS error_message,
    request_bytes,
    duration_ms,
    created_by
   FROM relay.call_archive c;

comment on view relay.read_call_archive is 'Archived calls as relay show reads them / relay show 读取的已归档调用';
