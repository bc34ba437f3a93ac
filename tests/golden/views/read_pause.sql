create view relay.read_pause as
 SELECT scope,
    NULLIF(until, 'infinity'::timestamp with time zone) AS until,
    relay.mask_text(reason) AS reason,
    error_code,
    since,
    by,
    db_user
   FROM relay.pause p;

comment on view relay.read_pause is 'Pauses as relay status reads them / relay status 读取的暂停';
