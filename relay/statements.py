"""The relay's own SQL: claim, settle, extend, pause. One constant a statement, with the reason for its shape.

Written as SQL text and not as expressions, because these few statements are what an operator reads in
``pg_stat_activity``, what a plan guard explains, and what a stranger has to be convinced of. Only the schema's name is
put in. All clocks are the database's. Everything that grows with a batch travels as arrays: one statement, any number
of rows.

The claim needs two statements in one READ COMMITTED transaction. LOCK_READY locks rows (``skip locked``) but its
snapshot may be older than another worker's claim that has just been committed. NAME_CALLS takes a new snapshot while
the row locks are held: it sees that claim and leaves those messages out. So two workers never name one message, though
no message row is written.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import TextClause, text

from relay.revisions import quoted

# Accounts take turns: step along the account column of the two partial indexes from where the last claim stopped.
# Within an account, messages without a key come by due time; of the others only the head of each ordering key counts,
# found by stepping from key to key. A head that is waiting or in flight holds its key, and nothing else.
# The last branch reports the stepping itself (id is null), so that the next claim goes on where this one stopped.
LOCK_READY = """
with recursive
in_flight as materialized (
    select unnest(message_ids) as id from {schema}.call where settled_at is null
),
turn (nth, account) as (
    select 1, least(
        (select account from {schema}.outbox
         where status = 'pending' and ordering_key is null and account > cast(:after_account as text)
         order by account limit 1),
        (select account from {schema}.outbox
         where status = 'pending' and ordering_key is not null and account > cast(:after_account as text)
         order by account limit 1))
    union all
    select turn.nth + 1, least(
        (select o.account from {schema}.outbox o
         where o.status = 'pending' and o.ordering_key is null and o.account > turn.account
         order by o.account limit 1),
        (select o.account from {schema}.outbox o
         where o.status = 'pending' and o.ordering_key is not null and o.account > turn.account
         order by o.account limit 1))
    from turn
    where turn.account is not null and turn.nth < cast(:accounts as integer)
),
open_turn as materialized (
    select turn.nth, turn.account, after.ordering_key as after_key
    from turn
    left join unnest(cast(:key_accounts as text[]), cast(:keys as text[])) as after (account, ordering_key)
        using (account)
    where turn.account is not null
      and turn.account <> all (cast(:skip_accounts as text[]))
      and not exists (
          select from {schema}.pause
          where scope = 'account:' || turn.account and (until is null or until > now()))
),
share (messages) as (
    select cast(:batch as integer) * greatest(1, cast(:slots as integer) / greatest(1, count(*))) from open_turn
),
head (account, ordering_key, id, available_at, step) as (
    select first.account, first.ordering_key, first.id, first.available_at, 1
    from open_turn t cross join lateral (
        select o.account, o.ordering_key, o.id, o.available_at from {schema}.outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = t.account
          and o.ordering_key > coalesce(t.after_key, '')
        order by o.ordering_key, o.id limit 1) first
    union all
    select next.account, next.ordering_key, next.id, next.available_at, head.step + 1
    from head cross join lateral (
        select o.account, o.ordering_key, o.id, o.available_at from {schema}.outbox o
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
        from {schema}.outbox o
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
        from head join {schema}.outbox o using (id)
        where head.account = t.account and head.available_at <= now() and o.status = 'pending'
          and o.available_at <= now() and o.id not in (select id from in_flight)
          and not (cast(:failed_holds as boolean) and exists (
              select from {schema}.outbox earlier
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
"""

# Order, second part. An earlier message of the same key may still be in a transaction that has not committed. Whoever
# writes one holds its bucket (see keep_order in revision 0002), so a bucket that can be had for a moment is free of
# writers; what they committed is seen by NAME_CALLS, whose snapshot is younger still.
KEYS_BEING_WRITTEN = """
select key.position
from unnest(cast(:accounts as text[]), cast(:keys as text[])) with ordinality as key (account, ordering_key, position)
cross join lateral (
    select cast(cast('{schema}.outbox' as regclass) as integer) as class,
        (hashtext(key.account) # hashtext(key.ordering_key)) & 255 as bucket) as advisory
where not case when pg_try_advisory_lock(advisory.class, advisory.bucket)
    then pg_advisory_unlock(advisory.class, advisory.bucket) else false end
"""

# The claim itself: a call for each batch, naming its messages in the order they will be sent.
NAME_CALLS = """
insert into {schema}.call (account, worker, message_ids, lease_until)
select min(proposed.account), :worker, array_agg(proposed.id order by proposed.position),
    now() + make_interval(secs => cast(:lease_seconds as double precision))
from unnest(cast(:batches as integer[]), cast(:accounts as text[]), cast(:keys as text[]), cast(:ids as bigint[]))
    with ordinality as proposed (batch, account, ordering_key, id, position)
where proposed.id not in (select unnest(message_ids) from {schema}.call where settled_at is null)
  and not exists (
      select from {schema}.outbox earlier
      where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = proposed.account
        and earlier.ordering_key = proposed.ordering_key and earlier.id < proposed.id)
group by proposed.batch
order by proposed.batch
returning id, account, message_ids
"""

# deliver_before has passed: never sent. The rows are locked by LOCK_READY and named by no call.
FAIL_EXPIRED = """
update {schema}.outbox set status = 'failed', finished_at = now(), error_code = 'relay.expired',
    error_message = 'deliver_before passed before the message could be sent'
where id = any (cast(:ids as bigint[])) and status = 'pending'
  and id not in (select unnest(message_ids) from {schema}.call where settled_at is null)
returning id
"""

# The guard of every settle: whoever closes the call owns its outcome. A call that is not returned was lost.
CLOSE_CALLS = """
update {schema}.call set settled_at = now(), outcome = v.outcome, http_status = v.http_status,
    request_id = v.request_id, error_code = v.error_code, sub_code = v.sub_code, error_message = v.error_message,
    request_bytes = v.request_bytes, duration_ms = v.duration_ms,
    sent_at = now() - make_interval(secs => v.sent_seconds_ago)
from unnest(cast(:ids as bigint[]), cast(:outcomes as text[]), cast(:http_statuses as smallint[]),
    cast(:request_ids as text[]), cast(:error_codes as text[]), cast(:sub_codes as text[]),
    cast(:error_messages as text[]), cast(:request_bytes as integer[]), cast(:durations_ms as integer[]),
    cast(:sent_seconds_ago as double precision[]))
    as v (id, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms,
          sent_seconds_ago)
where call.id = v.id and call.settled_at is null
returning call.id
"""

# Messages that are done, once each. Nothing else is in this statement: it is the one that runs for every message.
MARK_DONE = """
update {schema}.outbox set status = 'done', attempts = attempts + 1, call_id = v.call_id,
    result_index = v.result_index, finished_at = now()
from unnest(cast(:ids as bigint[]), cast(:call_ids as bigint[]), cast(:result_indexes as smallint[]))
    as v (id, call_id, result_index)
where outbox.id = v.id and outbox.status = 'pending'
"""

# Everything that is not done, with its evidence in the same statement.
# delay_seconds: null leaves the due time alone (the message paid nothing); infinity holds it for a person.
MARK_NOT_DONE = """
with v as (
    select * from unnest(cast(:ids as bigint[]), cast(:call_ids as bigint[]), cast(:result_indexes as smallint[]),
        cast(:outcomes as text[]), cast(:burned as boolean[]), cast(:final as boolean[]),
        cast(:error_codes as text[]), cast(:error_messages as text[]), cast(:row_codes as text[]),
        cast(:row_messages as text[]), cast(:delays_seconds as double precision[]))
        as v (id, call_id, result_index, outcome, burned, final, error_code, error_message, row_code, row_message,
              delay_seconds)
),
marked as (
    update {schema}.outbox set
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
insert into {schema}.attempt (message_id, call_id, result_index, outcome, error_code, error_message, retry_at)
select v.id, v.call_id, v.result_index, v.outcome, v.error_code, v.error_message,
    case when marked.status = 'pending' then marked.available_at end
from v join marked using (id)
"""

# A batch refused for its content goes on as halves: child calls of the same worker, before anybody else can claim.
SPLIT = """
insert into {schema}.call (account, worker, message_ids, parent_id, lease_until)
select min(half.account), :worker, array_agg(half.id order by half.position), min(half.parent_id),
    now() + make_interval(secs => cast(:lease_seconds as double precision))
from unnest(cast(:batches as integer[]), cast(:accounts as text[]), cast(:parent_ids as bigint[]),
    cast(:ids as bigint[])) with ordinality as half (batch, account, parent_id, id, position)
group by half.batch
order by half.batch
returning id, account, message_ids
"""

EXTEND = """
update {schema}.call set lease_until = now() + make_interval(secs => cast(:lease_seconds as double precision))
where id = any (cast(:ids as bigint[])) and settled_at is null
returning id
"""

# Anybody's calls whose lease ran out: the worker died or was cut off, and nobody knows whether the call was made.
LOCK_LAPSED = """
select c.id, c.account, c.worker, c.message_ids,
    array(select coalesce(o.attempts, 0) from unnest(c.message_ids) with ordinality as m (id, position)
          left join {schema}.outbox o on o.id = m.id order by m.position) as attempts
from {schema}.call c
where c.settled_at is null and c.lease_until < now()
order by c.lease_until limit cast(:calls as integer)
for update of c skip locked
"""

# A pause without an end outlasts one with an end; of two ends the later one counts.
PAUSE = """
insert into {schema}.pause as p (scope, until, reason, error_code, credential, by)
values (:scope, now() + make_interval(secs => cast(:seconds as double precision)), :reason, :error_code,
    :credential, :by)
on conflict (scope) do update set
    until = case when p.until is null or excluded.until is null then null
                 else greatest(p.until, excluded.until) end,
    reason = case when p.until is null then p.reason else excluded.reason end,
    error_code = case when p.until is null then p.error_code else excluded.error_code end,
    credential = case when p.until is null then p.credential else excluded.credential end,
    by = case when p.until is null then p.by else excluded.by end,
    since = case when p.until <= now() then excluded.since else p.since end
"""

PAUSES = """
select scope, extract(epoch from until - now()) as seconds_left, until is null as endless, reason, error_code,
    credential
from {schema}.pause where until is null or until > now()
"""

# A pause for a refused credential ends when the credential is another one. Guarded by what was read.
LIFT_PAUSE = """
delete from {schema}.pause where scope = :scope and credential = :credential
returning scope
"""

# Calls of one app key keep their distance, whichever worker makes them: each call reserves the next moment.
RESERVE = """
insert into {schema}.pace as p (app_key, next_at)
values (:app_key, clock_timestamp() + make_interval(secs => cast(:step_seconds as double precision)))
on conflict (app_key) do update set
    next_at = greatest(p.next_at, clock_timestamp()) + make_interval(secs => cast(:step_seconds as double precision))
returning extract(epoch from p.next_at - clock_timestamp()) - cast(:step_seconds as double precision) as wait_seconds
"""

NOW = """
select extract(epoch from clock_timestamp())
"""

# What --drain waits for: messages that will still move without a person. Held ones and those of an account that is
# paused until somebody resumes it do not count.
STILL_MOVING = """
select exists (select from {schema}.call where settled_at is null) or exists (
    select from {schema}.outbox
    where status = 'pending' and available_at < 'infinity' and account <> all (cast(:skip_accounts as text[]))
      and not exists (select from {schema}.pause where scope = 'account:' || account and until is null))
"""

COUNT_PENDING = """
select count(*) from {schema}.outbox where status = 'pending'
"""


@cache
def statement(sql: str, schema: str) -> TextClause:
    """One of the texts above for the schema of this name, ready to execute."""
    return text(sql.replace("{schema}", quoted(schema)))
