create view relay.audit_failure with (security_barrier=true) as
 SELECT o.id,
    o.topic,
    o.account,
    o.ordering_key,
    o.producer,
    o.error_code,
    relay.mask_text(o.error_message) AS error_message,
    o.attempts,
    o.created_at,
    o.finished_at,
    o.call_id,
    o.result_index,
    c.request_id,
    c.http_status,
    c.sub_code
   FROM (( SELECT outbox.id,
            outbox.topic,
            outbox.content,
            outbox.account,
            outbox.target_group,
            outbox.target_app_key,
            outbox.json_ex_content,
            outbox.ordering_key,
            outbox.dedupe_key,
            outbox.available_at,
            outbox.deliver_before,
            outbox.producer,
            outbox.headers,
            outbox.status,
            outbox.attempts,
            outbox.call_id,
            outbox.result_index,
            outbox.error_code,
            outbox.error_message,
            outbox.created_at,
            outbox.finished_at,
            outbox.created_by,
            outbox.created_xid,
            outbox.content_sha256,
            outbox.content_salt
           FROM relay.outbox
        UNION ALL
         SELECT outbox_archive.id,
            outbox_archive.topic,
            outbox_archive.content,
            outbox_archive.account,
            outbox_archive.target_group,
            outbox_archive.target_app_key,
            outbox_archive.json_ex_content,
            outbox_archive.ordering_key,
            outbox_archive.dedupe_key,
            outbox_archive.available_at,
            outbox_archive.deliver_before,
            outbox_archive.producer,
            outbox_archive.headers,
            outbox_archive.status,
            outbox_archive.attempts,
            outbox_archive.call_id,
            outbox_archive.result_index,
            outbox_archive.error_code,
            outbox_archive.error_message,
            outbox_archive.created_at,
            outbox_archive.finished_at,
            outbox_archive.created_by,
            outbox_archive.created_xid,
            outbox_archive.content_sha256,
            outbox_archive.content_salt
           FROM relay.outbox_archive) o
     LEFT JOIN LATERAL ( SELECT call.request_id,
            call.http_status,
            call.sub_code
           FROM relay.call
          WHERE ((call.id = o.call_id) AND (o.id = ANY (call.message_ids)))
        UNION ALL
         SELECT call_archive.request_id,
            call_archive.http_status,
            call_archive.sub_code
           FROM relay.call_archive
          WHERE ((call_archive.id = o.call_id) AND (o.id = ANY (call_archive.message_ids)) AND (call_archive.finished_at >= (o.finished_at - '1 mon'::interval)))
 LIMIT 1) c ON (true))
  WHERE (o.status = 'failed'::text);

comment on view relay.audit_failure is 'Messages that failed, with the evidence / 失败的消息及其依据';
