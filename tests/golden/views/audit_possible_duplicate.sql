create view relay.audit_possible_duplicate with (security_barrier=true) as
 SELECT o.id AS message_id,
    o.topic,
    o.account,
    o.ordering_key,
    o.dedupe_key,
    o.times AS unknown_outcomes,
    o.first_at AS first_unknown_at,
    o.last_at AS last_unknown_at,
    o.call_ids AS unknown_call_ids,
        CASE
            WHEN (o.status = 'done'::text) THEN 'accepted by a later call'::text
            WHEN ((o.status = 'pending'::text) AND (o.available_at = 'infinity'::timestamp with time zone)) THEN 'held for a person'::text
            WHEN (o.status = 'pending'::text) THEN 'will be sent again'::text
            WHEN (o.error_code = 'relay.discarded'::text) THEN 'discarded by a person'::text
            ELSE 'failed'::text
        END AS what_came_of_it,
    o.finished_at,
    o.call_id AS final_call_id,
    c.request_id AS final_request_id
   FROM (( SELECT hot.id,
            hot.topic,
            hot.account,
            hot.ordering_key,
            hot.dedupe_key,
            hot.status,
            hot.available_at,
            hot.error_code,
            hot.finished_at,
            hot.call_id,
            unclear.times,
            unclear.first_at,
            unclear.last_at,
            unclear.call_ids
           FROM (( SELECT attempt.message_id,
                    count(*) AS times,
                    min(attempt.at) AS first_at,
                    max(attempt.at) AS last_at,
                    array_agg(attempt.call_id ORDER BY attempt.call_id) AS call_ids
                   FROM relay.attempt
                  WHERE (attempt.outcome = 'unknown'::text)
                  GROUP BY attempt.message_id) unclear
             JOIN relay.outbox hot ON ((hot.id = unclear.message_id)))
        UNION ALL
         SELECT unclear.message_id,
            old.topic,
            old.account,
            old.ordering_key,
            old.dedupe_key,
            old.status,
            old.available_at,
            old.error_code,
            old.finished_at,
            old.call_id,
            unclear.times,
            unclear.first_at,
            unclear.last_at,
            unclear.call_ids
           FROM (( SELECT attempt_archive.message_id,
                    attempt_archive.finished_at,
                    count(*) AS times,
                    min(attempt_archive.at) AS first_at,
                    max(attempt_archive.at) AS last_at,
                    array_agg(attempt_archive.call_id ORDER BY attempt_archive.call_id) AS call_ids
                   FROM relay.attempt_archive
                  WHERE (attempt_archive.outcome = 'unknown'::text)
                  GROUP BY attempt_archive.message_id, attempt_archive.finished_at) unclear
             CROSS JOIN LATERAL ( SELECT outbox_archive.id,
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
                   FROM relay.outbox_archive
                  WHERE ((outbox_archive.id = unclear.message_id) AND (outbox_archive.finished_at = unclear.finished_at))
                 OFFSET 0) old)) o
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
 LIMIT 1) c ON (true));

comment on view relay.audit_possible_duplicate is 'Messages that may have arrived twice, or without proof / 可能重复送达或送达无凭据的消息';
