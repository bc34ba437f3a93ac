create view relay.blocked_keys with (security_barrier=true) as
 SELECT account,
    ordering_key,
    id AS head_id,
    available_at,
    attempts,
    error_code,
    relay.mask_text(error_message) AS error_message,
    (now() - created_at) AS age,
    ( SELECT count(*) AS count
           FROM relay.outbox o
          WHERE ((o.status = 'pending'::text) AND (o.account = head.account) AND (o.ordering_key = head.ordering_key))) AS messages
   FROM ( SELECT DISTINCT ON (outbox.account, outbox.ordering_key) outbox.id,
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
            outbox.content_sha256
           FROM relay.outbox
          WHERE ((outbox.status = 'pending'::text) AND (outbox.ordering_key IS NOT NULL))
          ORDER BY outbox.account, outbox.ordering_key, outbox.id) head
  WHERE (available_at > now());

comment on view relay.blocked_keys is 'Ordering keys whose earliest message waits or is held / 被首条消息阻塞的顺序键';
