create view relay.audit_integrity with (security_barrier=true) as
 WITH removed(message_id, sha256) AS MATERIALIZED (
         SELECT (entry.key)::bigint AS key,
            (entry.value ->> 'content'::text) AS "?column?"
           FROM (relay.action
             CROSS JOIN LATERAL json_each(COALESCE((action.selection -> 'salted_sha256'::text), (action.selection -> 'sha256'::text))) entry(key, value))
          WHERE (action.action = 'redact'::text)
        )
 SELECT o.id,
        CASE
            WHEN (o.content_salt IS NOT NULL) THEN encode(o.content_sha256, 'hex'::text)
            ELSE NULL::text
        END AS content_sha256,
        CASE
            WHEN (o.content_salt IS NOT NULL) THEN encode(found.sha256, 'hex'::text)
            ELSE NULL::text
        END AS found_sha256,
    found.redacted,
    ((found.sha256 = o.content_sha256) OR (found.redacted AND ((o.id, encode(o.content_sha256, 'hex'::text)) IN ( SELECT removed.message_id,
            removed.sha256
           FROM removed)))) AS intact
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
     CROSS JOIN LATERAL ( SELECT sha256((COALESCE(o.content_salt, '\x'::bytea) || convert_to((o.content)::text, 'UTF8'::name))) AS sha256,
            ((o.content)::text = '{"redacted": true}'::text) AS redacted) found);

comment on view relay.audit_integrity is 'Whether contents are what was inserted; hashes every content / 内容是否与写入时一致；逐条重算';
