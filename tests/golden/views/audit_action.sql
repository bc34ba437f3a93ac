create view relay.audit_action with (security_barrier=true) as
 SELECT id,
    at,
    actor,
    db_user,
    action,
    relay.mask_text(reason) AS reason,
    selection,
    message_ids,
    count,
    created_xid
   FROM relay.action;

comment on view relay.audit_action is 'What people did, and why / 人工操作记录及原因';
