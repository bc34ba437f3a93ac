create view relay.audit_message with (security_barrier=true) as
 SELECT id,
    topic,
    account,
    ordering_key,
    dedupe_key,
    producer,
    status,
    attempts,
    relay.mask_content((content)::json, ARRAY( SELECT m.pointer
           FROM relay.mask m
          WHERE (m.topic = ANY (ARRAY[o.topic, '*'::text])))) AS content,
    length((content)::text) AS content_characters,
        CASE
            WHEN (content_salt IS NOT NULL) THEN encode(content_sha256, 'hex'::text)
            ELSE NULL::text
        END AS content_sha256,
    created_at,
    NULLIF(NULLIF(available_at, 'infinity'::timestamp with time zone), '-infinity'::timestamp with time zone) AS available_at,
    ((status = 'pending'::text) AND (available_at = 'infinity'::timestamp with time zone)) AS held,
    NULLIF(NULLIF(deliver_before, 'infinity'::timestamp with time zone), '-infinity'::timestamp with time zone) AS deliver_before,
    finished_at,
    round(EXTRACT(epoch FROM (finished_at - created_at)), 3) AS latency_seconds,
    call_id,
    result_index,
    ( SELECT c.request_id
           FROM relay.call c
          WHERE ((c.id = o.call_id) AND (c.message_ids[(o.result_index + 1)] = o.id))
        UNION ALL
         SELECT c.request_id
           FROM relay.call_archive c
          WHERE ((c.id = o.call_id) AND (c.message_ids[(o.result_index + 1)] = o.id) AND (c.finished_at >= (o.finished_at - '1 mon'::interval)))
 LIMIT 1) AS request_id,
    error_code,
    relay.mask_text(error_message) AS error_message,
    created_by,
    created_xid,
    "substring"((headers)::text, '"traceparent"\s*:\s*"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"'::text) AS traceparent
   FROM ( SELECT outbox.id,
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
           FROM relay.outbox_archive) o;

comment on view relay.audit_message is 'Every message, its content masked / 全部消息，内容已脱敏';
