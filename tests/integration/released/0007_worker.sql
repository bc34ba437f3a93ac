-- What a worker of the version before revision 0008 says to PostgreSQL, as it was released: it goes on after an upgrade.
-- statement: lock_ready
with recursive
in_flight as materialized (
    select unnest(message_ids) as id from relay.call where settled_at is null and id >= cast(%(open_from)s as bigint)
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
    where turn.account is not null and turn.nth <= cast(%(accounts)s as integer)
),
open_turn as materialized (
    select turn.nth, turn.account, after.ordering_key as after_key,
        case when floor.id is null then '-infinity'
             else least(timestamptz 'epoch' + floor.due_us * interval '1 microsecond', now() - interval '1 second')
        end as floor_at,
        coalesce(floor.id, 0) as floor_id
    from turn
    left join unnest(cast(%(key_accounts)s as text[]), cast(%(keys)s as text[])) as after (account, ordering_key)
        using (account)
    left join unnest(cast(%(floor_accounts)s as text[]), cast(%(floors_us)s as bigint[]), cast(%(floor_ids)s as bigint[]))
        as floor (account, due_us, id) using (account)
    where turn.account is not null and turn.nth <= cast(%(accounts)s as integer)
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
            o.available_at > now() - make_interval(secs => cast(%(linger_seconds)s as double precision)) as may_wait,
            o.xmax = 0 as fresh,
            case when cast(%(remember)s as boolean)
                 then cast(extract(epoch from greatest(o.available_at, 'epoch')) * 1000000 as bigint) end as due_us
        from relay.outbox o
        where o.status = 'pending' and o.ordering_key is null and o.account = t.account
          and (o.available_at, o.id) > (t.floor_at, t.floor_id) and o.available_at <= now()
          and case when cast(%(pass_over)s as boolean) then o.xmax = 0 else o.id not in (select id from in_flight) end
        order by o.available_at, o.id limit (select messages from share)
        for update of o skip locked) ready
    union all
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast(%(linger_seconds)s as double precision)) as may_wait,
            false as fresh, cast(null as bigint) as due_us
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
    may_wait, fresh, due_us, null as head_keys, null as head_ids, null as heads_in_flight
from candidate
union all
select turn.nth, null, turn.account, null, null, null, null, null,
    (select case when max(step) >= (select 2 * messages from share) then max(ordering_key) end
     from head where head.account = turn.account), null, false, false, false,
    case when cast(%(remember)s as boolean) and open_turn.account is not null
         then cast(extract(epoch from now()) * 1000000 as bigint) end,
    found.keys, found.ids, found.in_flight
from turn left join open_turn using (account)
left join lateral (
    select array_agg(head.ordering_key) as keys, array_agg(head.id) as ids,
        array_agg(head.id in (select id from in_flight)) as in_flight
    from head
    where cast(%(remember)s as boolean) and head.account = turn.account) as found on true
where turn.account is not null
-- statement: name_calls
insert into relay.call (account, worker, message_ids, lease_until)
select min(batch.account), %(worker)s, array_agg(proposed.id order by proposed.position),
    now() + make_interval(secs => cast(%(lease_seconds)s as double precision))
from (select pg_advisory_xact_lock_shared(cast(cast('relay.call' as regclass) as integer), 0)) as naming
cross join unnest(cast(%(ids)s as bigint[]), cast(%(batches)s as integer[])) with ordinality as proposed (id, batch, position)
join unnest(cast(%(accounts)s as text[])) with ordinality as batch (account, number) on batch.number = proposed.batch
where proposed.id not in (
      select unnest(message_ids) from relay.call where settled_at is null and id >= cast(%(open_from)s as bigint))
  and proposed.id not in (
      select keyed.id
      from unnest(cast(%(keyed_ids)s as bigint[]), cast(%(key_accounts)s as text[]), cast(%(keys)s as text[]),
          cast(%(keys_from)s as bigint[])) as keyed (id, account, ordering_key, key_from)
      where exists (
          select from relay.outbox earlier
          where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = keyed.account
            and earlier.ordering_key = keyed.ordering_key and earlier.id < keyed.id and earlier.id >= keyed.key_from))
group by proposed.batch
order by proposed.batch
returning id, account, message_ids
-- statement: close_calls
update relay.call set settled_at = now(), outcome = v.outcome, http_status = v.http_status,
    request_id = v.request_id, error_code = v.error_code, sub_code = v.sub_code, error_message = v.error_message,
    request_bytes = v.request_bytes, duration_ms = v.duration_ms,
    sent_at = now() - make_interval(secs => v.sent_seconds_ago)
from unnest(cast(%(ids)s as bigint[]), cast(%(outcomes)s as text[]), cast(%(http_statuses)s as smallint[]),
    cast(%(request_ids)s as text[]), cast(%(error_codes)s as text[]), cast(%(sub_codes)s as text[]),
    cast(%(error_messages)s as text[]), cast(%(request_bytes)s as integer[]), cast(%(durations_ms)s as integer[]),
    cast(%(sent_seconds_ago)s as double precision[]))
    as v (id, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms,
          sent_seconds_ago)
where call.id = v.id and call.settled_at is null
returning call.id
-- statement: mark_done
update relay.outbox set status = 'done', attempts = attempts + 1, call_id = v.call_id,
    result_index = v.result_index, finished_at = now()
from unnest(cast(%(ids)s as bigint[]), cast(%(call_ids)s as bigint[]), cast(%(result_indexes)s as smallint[]))
    as v (id, call_id, result_index)
where outbox.id = v.id and outbox.status = 'pending'
-- statement: mark_not_done
with v as (
    select * from unnest(cast(%(ids)s as bigint[]), cast(%(call_ids)s as bigint[]), cast(%(result_indexes)s as smallint[]),
        cast(%(outcomes)s as text[]), cast(%(burned)s as boolean[]), cast(%(final)s as boolean[]),
        cast(%(error_codes)s as text[]), cast(%(error_messages)s as text[]), cast(%(row_codes)s as text[]),
        cast(%(row_messages)s as text[]), cast(%(delays_seconds)s as double precision[]))
        as v (id, call_id, result_index, outcome, burned, final, error_code, error_message, row_code, row_message,
              delay_seconds)
),
marked as (
    update relay.outbox set
        status = case when v.final then 'failed' else 'pending' end,
        attempts = attempts + cast(v.burned as integer),
        error_code = v.row_code,
        error_message = v.row_message,
        call_id = case when v.final then v.call_id end,
        result_index = case when v.final then v.result_index end,
        finished_at = case when v.final then now() end,
        available_at = case
            when v.final or v.delay_seconds is null then available_at
            when v.delay_seconds = 'infinity' then 'infinity'
            else now() + make_interval(secs => v.delay_seconds) end
    from v where outbox.id = v.id and outbox.status = 'pending'
    returning outbox.id, outbox.status, outbox.available_at
)
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message, retry_at)
select v.id, v.call_id, v.result_index, v.outcome, v.error_code, v.error_message,
    case when marked.status = 'pending' then marked.available_at end
from v join marked using (id)
-- statement: split
insert into relay.call (account, worker, message_ids, parent_id, lease_until)
select min(half.account), %(worker)s, array_agg(half.id order by half.position), min(half.parent_id),
    now() + make_interval(secs => cast(%(lease_seconds)s as double precision))
from (select pg_advisory_xact_lock_shared(cast(cast('relay.call' as regclass) as integer), 0)) as naming
cross join unnest(cast(%(batches)s as integer[]), cast(%(accounts)s as text[]), cast(%(parent_ids)s as bigint[]),
    cast(%(ids)s as bigint[])) with ordinality as half (batch, account, parent_id, id, position)
group by half.batch
order by half.batch
returning id, account, message_ids
-- statement: extend
update relay.call set lease_until = now() + make_interval(secs => cast(%(lease_seconds)s as double precision))
where id = any (cast(%(ids)s as bigint[])) and settled_at is null
returning id
-- statement: lock_lapsed
select c.id, c.account, c.worker, c.message_ids,
    array(select coalesce(o.attempts, 0) from unnest(c.message_ids) with ordinality as m (id, position)
          left join relay.outbox o on o.id = m.id order by m.position) as attempts
from relay.call c
where c.settled_at is null and c.lease_until < now()
order by c.lease_until limit cast(%(calls)s as integer)
for update of c skip locked
-- statement: pause
insert into relay.pause as p (scope, until, reason, error_code, credential, by)
values (%(scope)s, now() + make_interval(secs => cast(%(seconds)s as double precision)), %(reason)s, %(error_code)s,
    %(credential)s, %(by)s)
on conflict (scope) do update set
    until = case when p.until is null or excluded.until is null then null
                 else greatest(p.until, excluded.until) end,
    reason = case when p.until is null then p.reason else excluded.reason end,
    error_code = case when p.until is null then p.error_code else excluded.error_code end,
    credential = case when p.until is null then p.credential else excluded.credential end,
    by = case when p.until is null then p.by else excluded.by end,
    since = case when p.until <= now() then excluded.since else p.since end
-- statement: lift_pause
delete from relay.pause where scope = %(scope)s and credential = %(credential)s
returning scope
-- statement: reserve
insert into relay.pace as p (app_key, next_at)
values (%(app_key)s, clock_timestamp() + make_interval(secs => cast(%(step_seconds)s as double precision)))
on conflict (app_key) do update set
    next_at = greatest(p.next_at, clock_timestamp()) + make_interval(secs => cast(%(step_seconds)s as double precision))
returning extract(epoch from p.next_at - clock_timestamp()) - cast(%(step_seconds)s as double precision) as wait_seconds
-- statement: grants
grant usage on schema relay to {worker};
grant select on relay.alembic_version, relay.outbox, relay.call, relay.attempt, relay.pause, relay.pace,
    relay.blocked_keys to {worker};
grant select (id, action) on relay.action to {worker};
grant execute on function relay.mask_text(text) to {worker};
grant update (status, attempts, call_id, result_index, error_code, error_message, available_at, finished_at)
    on relay.outbox to {worker};
grant insert (account, worker, message_ids, parent_id, lease_until),
    update (lease_until, sent_at, settled_at, outcome, http_status, request_id, error_code, sub_code, error_message,
        request_bytes, duration_ms)
    on relay.call to {worker};
grant insert on relay.attempt to {worker};
grant insert, update, delete on relay.pause to {worker};
grant insert, update on relay.pace to {worker};
grant execute on function relay.archive_messages(timestamptz, integer, boolean, text, text, bigint),
    relay.archive_calls(timestamptz, integer, text, text, bigint) to {worker};
