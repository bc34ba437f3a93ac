create view relay.read_pace as
 SELECT app_key,
    next_at,
    db_user,
    step
   FROM relay.pace p;

comment on view relay.read_pace is 'When the next call of an app key may go / 各应用下一次调用的最早时间';
