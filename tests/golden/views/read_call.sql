create view relay.read_call as
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
   FROM relay.call c;

comment on view relay.read_call is 'Calls as relay status and show read them / relay status 与 show 读取的调用';
