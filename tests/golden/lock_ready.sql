with recursive
in_flight as materialized (
    select unnest(message_ids) as id from relay.call where settled_at is null
),
turn (nth, account) as (
    select 1, least(
        (select account from relay.outbox
         where status = 'pending' and ordering_key is null and account > cast(%(after_account)s as text)
         order by account limit 1),
        (select account from relay.outbox
         where status = 'pending' and ordering_key is not null and account > cast(%(after_account)s as text)
         order by account limit 1))
    union all
    select turn.nth + 1, least(
        (select o.account from relay.outbox o
         where o.status = 'pending' and o.ordering_key is null and o.account > turn.account
         order by o.account limit 1),
        (select o.account from relay.outbox o
         where o.status = 'pending' and o.ordering_key is not null and o.account > turn.account
         order by o.account limit 1))
    from turn
    where turn.account is not null and turn.nth < cast(%(accounts)s as integer)
),
open_turn as materialized (
    select turn.nth, turn.account, after.ordering_key as after_key
    from turn
    left join unnest(cast(%(key_accounts)s as text[]), cast(%(keys)s as text[])) as after (account, ordering_key)
        using (account)
    where turn.account is not null
      and turn.account <> all (cast(%(skip_accounts)s as text[]))
      and not exists (
          select from relay.pause
          where scope = 'account:' || turn.account and (until is null or until > now()))
),
share (messages) as (
    select cast(%(batch)s as integer) * greatest(1, cast(%(slots)s as integer) / greatest(1, count(*))) from open_turn
),
head (account, ordering_key, id, available_at, step) as (
    select first.account, first.ordering_key, first.id, first.available_at, 1
    from open_turn t cross join lateral (
        select o.account, o.ordering_key, o.id, o.available_at from relay.outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = t.account
          and o.ordering_key > coalesce(t.after_key, '')
        order by o.ordering_key, o.id limit 1) first
    union all
    select next.account, next.ordering_key, next.id, next.available_at, head.step + 1
    from head cross join lateral (
        select o.account, o.ordering_key, o.id, o.available_at from relay.outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = head.account
          and o.ordering_key > head.ordering_key
        order by o.ordering_key, o.id limit 1) next
    where head.step < (select 2 * messages from share)
),
candidate as (
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            coalesce(o.deliver_before <= now(), false) as expired,
            extract(epoch from now() - o.available_at) as due_seconds
        from relay.outbox o
        where o.status = 'pending' and o.ordering_key is null and o.account = t.account and o.available_at <= now()
          and o.id not in (select id from in_flight)
        order by o.available_at, o.id limit (select messages from share)
        for update of o skip locked) ready
    union all
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            coalesce(o.deliver_before <= now(), false) as expired,
            extract(epoch from now() - o.available_at) as due_seconds
        from head join relay.outbox o using (id)
        where head.account = t.account and head.available_at <= now() and o.status = 'pending'
          and o.available_at <= now() and o.id not in (select id from in_flight)
          and not (cast(%(failed_holds)s as boolean) and exists (
              select from relay.outbox earlier
              where earlier.status = 'failed' and earlier.ordering_key is not null and earlier.account = o.account
                and earlier.ordering_key = o.ordering_key and earlier.id < o.id
                and earlier.error_code is distinct from 'relay.discarded'))
        order by o.id limit (select messages from share)
        for update of o skip locked) ready
)
select nth, id, account, topic, content, target_group, target_app_key, json_ex_content, ordering_key, attempts, expired,
    due_seconds
from candidate
union all
select nth, null, account, null, null, null, null, null,
    (select case when max(step) >= (select 2 * messages from share) then max(ordering_key) end
     from head where head.account = turn.account), null, false, null
from turn where account is not null
