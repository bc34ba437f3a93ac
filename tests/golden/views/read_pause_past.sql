create view relay.read_pause_past as
 SELECT scope,
    NULLIF(until, 'infinity'::timestamp with time zone) AS until,
    relay.mask_text(reason) AS reason,
    error_code,
    since,
    by,
    db_user,
    ended_at,
    ended_by,
    ended
   FROM relay.pause_past p;

comment on view relay.read_pause_past is 'Pauses that have ended, as the dashboard reads them / 监控页面读取的已结束暂停';
