create view relay.read_action as
 SELECT id,
    at,
    actor,
    db_user,
    action,
    relay.mask_text(reason) AS reason,
    selection,
    message_ids,
    count
   FROM relay.action a;

comment on view relay.read_action is 'The ledger as the dashboard reads it / 监控页面读取的操作记录';
