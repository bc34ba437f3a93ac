with
in_flight as materialized (
    select named.id
    from (select unnest(message_ids) as id from relay.call
          where settled_at is null and call.id >= cast($1 as bigint)) as named
    where named.id is not null
    union all
    select unnest(cast($2 as bigint[]))
),
turn (nth, account) as (
    select known.nth, known.account
    from unnest(cast($3 as text[])) with ordinality as known (account, nth)
),
open_turn as materialized (
    select turn.nth, turn.account, case when turn.account = any (cast($4 as text[])) then 2 else 1 end as kinds,
        case when floor.id is null then '-infinity'
             else least(timestamptz 'epoch' + floor.due_us * interval '1 microsecond', now() - interval '1 second')
        end as floor_at,
        coalesce(floor.id, 0) as floor_id
    from turn
    left join unnest(cast($5 as text[]), cast($6 as bigint[]), cast($7 as bigint[]))
        as floor (account, due_us, id) using (account)
    where turn.account is not null and turn.nth between 1 and cast($8 as integer)
      and turn.account not in (select unnest(cast($9 as text[])))
      and not exists (
          select from relay.pause
          where scope = 'account:' || turn.account and (until is null or until > now()))
),
share (messages) as (
    select cast($10 as integer) * greatest(1, cast($11 as integer) / greatest(1, count(*))) from open_turn
),
head (account, ordering_key, id, available_at, more) as (
    select t.account, known.ordering_key, first.id, first.available_at, false
    from open_turn t
    join unnest(cast($12 as text[]), cast($13 as text[]), cast($14 as bigint[]))
        as known (account, ordering_key, id) using (account)
    cross join lateral (
        select o.id, o.available_at from relay.outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = t.account
          and o.ordering_key = known.ordering_key and o.id >= known.id
        order by o.id limit 1) first
),
candidate as (
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            cast(extract(epoch from o.deliver_before) as double precision) as deliver_before,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast($15 as double precision)) as may_wait,
            o.xmax = 0 as fresh,
            case when cast($16 as boolean)
                 then cast(extract(epoch from greatest(o.available_at, 'epoch')) * 1000000 as bigint) end as due_us
        from relay.outbox o
        where o.status = 'pending' and o.ordering_key is null and o.account = t.account
          and (o.available_at, o.id) > (t.floor_at, t.floor_id) and o.available_at <= now()
          and case when cast($17 as boolean) then o.xmax = 0 else o.id not in (select id from in_flight) end
        order by o.available_at, o.id limit ((select messages from share) + kinds - 1) / kinds
        for update of o skip locked) ready
    union all
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            cast(extract(epoch from o.deliver_before) as double precision) as deliver_before,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast($15 as double precision)) as may_wait,
            false as fresh, cast(null as bigint) as due_us
        from head join relay.outbox o using (id)
        where head.account = t.account and head.available_at <= now() and o.status = 'pending'
          and o.available_at <= now() and o.id not in (select id from in_flight)
          and not (cast($18 as boolean) and exists (
              select from relay.outbox earlier
              where earlier.status = 'failed' and earlier.ordering_key is not null and earlier.account = o.account
                and earlier.ordering_key = o.ordering_key and earlier.id < o.id
                and earlier.error_code is distinct from 'relay.discarded'))
        order by o.id limit ((select messages from share) + kinds - 1) / kinds
        for update of o skip locked) ready
)
select 'message' as kind, nth, id, account, topic, content, target_group, target_app_key, json_ex_content, ordering_key,
    attempts, deliver_before, expired, may_wait, fresh, due_us,
    null as cursor, null as looked_us, null as head_keys, null as head_ids, null as heads_in_flight
from candidate
union all
select 'account', turn.nth, null, turn.account, null, null, null, null, null, null,
    null, null, null, null, null, null,
    found.cursor,
    case when open_turn.account is not null then cast(extract(epoch from now()) * 1000000 as bigint) end,
    found.keys, found.ids, found.in_flight
from turn left join open_turn using (account)
cross join lateral (
    select case when bool_or(more) then max(ordering_key) end as cursor,
        array_agg(ordering_key) filter (where cast($16 as boolean)) as keys,
        array_agg(id) filter (where cast($16 as boolean)) as ids,
        array_agg(id in (select id from in_flight)) filter (where cast($16 as boolean)) as in_flight
    from head where head.account = turn.account) as found
where turn.account is not null and turn.nth > 0
