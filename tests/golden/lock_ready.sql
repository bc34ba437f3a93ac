with recursive
in_flight as materialized (
    select named.id
    from (select unnest(message_ids) as id from relay.call
          where settled_at is null and call.id >= cast($1 as bigint)) as named
    where named.id is not null
    union all
    select unnest(cast($2 as bigint[]))
),
turn (nth, account) as (
    select 0, cast($3 as text)
    union all
    select turn.nth + 1, least(
        (select o.account from relay.outbox o
         where o.status = 'pending' and o.ordering_key is null and o.account > turn.account
         order by o.account limit 1),
        (select o.account from relay.outbox o
         where o.status = 'pending' and o.ordering_key is not null and o.account > turn.account
         order by o.account limit 1))
    from turn
    where turn.account is not null and turn.nth <= cast($4 as integer)
),
open_turn as materialized (
    select turn.nth, turn.account, case when turn.account = any (cast($5 as text[])) then 2 else 1 end as kinds,
        (cast($6 as text[]))[array_position(cast($7 as text[]), turn.account)] as after_key
    from turn
    where turn.account is not null and turn.nth between 1 and cast($4 as integer)
      and turn.account not in (select unnest(cast($8 as text[])))
      and not exists (
          select from relay.pause
          where scope = 'account:' || turn.account and (until is null or until > now()))
),
share (messages) as (
    select cast($9 as integer) * greatest(1, cast($10 as integer) / greatest(1, count(*))) from open_turn
),
stretch (account, kinds, keys, ids, due, last_key, looked, ready) as (
    select account, kinds, cast(null as text[]), cast(null as bigint[]), cast(null as timestamptz[]),
        coalesce(after_key, ''), cast(0 as bigint), cast(0 as bigint)
    from open_turn
    union all
    select stretch.account, stretch.kinds, next.keys, next.ids, next.due, next.last_key,
        stretch.looked + next.looked, stretch.ready + next.ready
    from stretch cross join lateral (
        select array_agg(first.ordering_key) as keys, array_agg(first.id) as ids, array_agg(first.available_at) as due,
            max(first.ordering_key) as last_key, count(*) as looked,
            count(*) filter (where first.available_at <= now() and first.id not in (select id from in_flight)) as ready
        from (
            select distinct on (few.ordering_key) few.ordering_key, few.id, few.available_at
            from (
                select o.ordering_key, o.id, o.available_at from relay.outbox o
                where o.status = 'pending' and o.ordering_key is not null and o.account = stretch.account
                  and o.ordering_key > stretch.last_key
                order by o.ordering_key, o.id limit 8) as few
            order by few.ordering_key, few.id) as first) as next
    where stretch.last_key is not null and greatest(stretch.ready, stretch.looked / 2) < ((select messages from share) + kinds - 1) / kinds
),
head (account, ordering_key, id, available_at, more) as (
    select stretch.account, first.ordering_key, first.id, first.available_at,
        greatest(stretch.ready, stretch.looked / 2) >= ((select messages from share) + kinds - 1) / kinds
    from stretch cross join lateral unnest(stretch.keys, stretch.ids, stretch.due)
        as first (ordering_key, id, available_at)
),
candidate as (
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            cast(extract(epoch from o.deliver_before) as double precision) as deliver_before,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast($11 as double precision)) as may_wait,
            o.xmax = 0 as fresh,
            case when cast($12 as boolean)
                 then cast(extract(epoch from greatest(o.available_at, 'epoch')) * 1000000 as bigint) end as due_us
        from relay.outbox o
        where o.status = 'pending' and o.ordering_key is null and o.account = t.account
          and o.available_at <= now()
          and case when cast($13 as boolean) then o.xmax = 0 else o.id not in (select id from in_flight) end
        order by o.available_at, o.id limit ((select messages from share) + kinds - 1) / kinds
        for update of o skip locked) ready
    union all
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            cast(extract(epoch from o.deliver_before) as double precision) as deliver_before,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast($11 as double precision)) as may_wait,
            false as fresh, cast(null as bigint) as due_us
        from head join relay.outbox o using (id)
        where head.account = t.account and head.available_at <= now() and o.status = 'pending'
          and o.available_at <= now() and o.id not in (select id from in_flight)
          and not (cast($14 as boolean) and exists (
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
        array_agg(ordering_key) filter (where cast($12 as boolean)) as keys,
        array_agg(id) filter (where cast($12 as boolean)) as ids,
        array_agg(id in (select id from in_flight)) filter (where cast($12 as boolean)) as in_flight
    from head where head.account = turn.account) as found
where turn.account is not null and turn.nth > 0
