create view relay.read_outbox as
 SELECT id,
    status,
    topic,
    account,
    target_group,
    target_app_key,
    ordering_key,
    dedupe_key,
    producer,
    length((content)::text) AS content_characters,
        CASE
            WHEN (content_salt IS NOT NULL) THEN encode(content_sha256, 'hex'::text)
            ELSE NULL::text
        END AS content_sha256,
    attempts,
    call_id,
    result_index,
    error_code,
    relay.mask_text(error_message) AS error_message,
    NULLIF(NULLIF(available_at, 'infinity'::timestamp with time zone), '-infinity'::timestamp with time zone) AS available_at,
    ((status = 'pending'::text) AND (available_at = 'infinity'::timestamp with time zone)) AS held,
    NULLIF(NULLIF(deliver_before, 'infinity'::timestamp with time zone), '-infinity'::timestamp with time zone) AS deliver_before,
    created_at,
    created_by,
    finished_at
   FROM relay.outbox m;

comment on view relay.read_outbox is 'Messages as relay list and show read them / relay list 与 show 读取的消息';
