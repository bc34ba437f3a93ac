create view relay.audit_in_flight with (security_barrier=true) as
 SELECT named.message_id,
    o.topic,
    o.ordering_key,
    ((named."position" - 1))::smallint AS result_index,
    c.id AS call_id,
    c.account,
    c.worker,
    c.parent_id,
    c.claimed_at,
    c.lease_until,
    (c.lease_until < now()) AS lease_expired
   FROM ((relay.call c
     CROSS JOIN LATERAL unnest(c.message_ids) WITH ORDINALITY named(message_id, "position"))
     LEFT JOIN relay.outbox o ON ((o.id = named.message_id)))
  WHERE (c.settled_at IS NULL);

comment on view relay.audit_in_flight is 'Messages in an open call / 正在发送的消息';
