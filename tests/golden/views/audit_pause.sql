create view relay.audit_pause with (security_barrier=true) as
 SELECT pause.scope,
    pause.since,
    NULLIF(pause.until, 'infinity'::timestamp with time zone) AS until,
    ((pause.until IS NULL) OR (pause.until > now())) AS in_force,
    relay.mask_text(pause.reason) AS reason,
    pause.error_code,
    pause.by,
    pause.db_user,
    NULL::timestamp with time zone AS ended_at,
    NULL::name AS ended_by,
    NULL::text AS ended
   FROM relay.pause
UNION ALL
 SELECT pause_past.scope,
    pause_past.since,
    NULLIF(pause_past.until, 'infinity'::timestamp with time zone) AS until,
    false AS in_force,
    relay.mask_text(pause_past.reason) AS reason,
    pause_past.error_code,
    pause_past.by,
    pause_past.db_user,
    pause_past.ended_at,
    pause_past.ended_by,
    pause_past.ended
   FROM relay.pause_past;

comment on view relay.audit_pause is 'Pauses, also those that have ended by themselves / 暂停记录，含已自行到期者';
