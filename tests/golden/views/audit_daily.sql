create view relay.audit_daily with (security_barrier=true) as
 SELECT ((o.created_at AT TIME ZONE here.zone))::date AS day,
    here.zone,
    count(*) AS inserted,
    count(*) FILTER (WHERE (o.status = 'done'::text)) AS done,
    count(*) FILTER (WHERE (o.status = 'failed'::text)) AS failed,
    count(*) FILTER (WHERE (o.status = 'pending'::text)) AS pending,
    count(unclear.message_id) AS unknown
   FROM ((( SELECT COALESCE(NULLIF(current_setting('relay.zone'::text, true), ''::text), 'Asia/Shanghai'::text) AS zone) here
     CROSS JOIN ( SELECT outbox.id,
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
            outbox_archive.content_sha256
           FROM relay.outbox_archive) o)
     LEFT JOIN ( SELECT DISTINCT attempt.message_id
           FROM ( SELECT attempt_1.message_id,
                    attempt_1.call_id,
                    attempt_1.result_index,
                    attempt_1.outcome,
                    attempt_1.error_code,
                    attempt_1.error_message,
                    attempt_1.at,
                    attempt_1.retry_at
                   FROM relay.attempt attempt_1
                UNION ALL
                 SELECT attempt_archive.message_id,
                    attempt_archive.call_id,
                    attempt_archive.result_index,
                    attempt_archive.outcome,
                    attempt_archive.error_code,
                    attempt_archive.error_message,
                    attempt_archive.at,
                    attempt_archive.retry_at
                   FROM relay.attempt_archive) attempt
          WHERE (attempt.outcome = 'unknown'::text)) unclear ON ((unclear.message_id = o.id)))
  GROUP BY (((o.created_at AT TIME ZONE here.zone))::date), here.zone;

comment on view relay.audit_daily is 'Messages by the day of their insert; reads every message / 按写入日期统计；读取全部消息';
