create view relay.read_dedupe as
 SELECT account,
    dedupe_key,
    message_id,
    left_at
   FROM relay.dedupe d;

comment on view relay.read_dedupe is 'Dedupe keys of messages that left the outbox / 已离开发件箱的消息的去重键';
