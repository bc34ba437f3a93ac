"""The operators' own SQL: find, retry, discard, pause, redact, reveal, prune, the ledger. One constant a statement.

Same form and same rules as ``statements.py``: SQL text, the schema's name put in, the database's clock, arrays for what
grows. Whatever changes messages goes in three steps of one READ COMMITTED transaction: lock them in id order; look at
them again with a snapshot younger than the locks, which sees any call that has claimed them meanwhile; change those
that may be changed. While the locks are held no worker can claim them.
"""

from __future__ import annotations

# Filters; null means all. Each half of the union has the condition of one partial index, so finished rows are never
# read. A discarded message is closed: nobody gets at it by a filter that does not say so.
FIND = """
select id from (
    select id, topic, account, ordering_key, error_code, created_at from {schema}.outbox
    where status = 'failed' and cast(:failed as boolean)
    union all
    select id, topic, account, ordering_key, error_code, created_at from {schema}.outbox
    where status = 'pending' and ordering_key is null
      and (cast(:pending as boolean) or cast(:held as boolean) and available_at = 'infinity')
    union all
    select id, topic, account, ordering_key, error_code, created_at from {schema}.outbox
    where status = 'pending' and ordering_key is not null
      and (cast(:pending as boolean) or cast(:held as boolean) and available_at = 'infinity')
) as message
where (cast(:topic as text) is null or topic = :topic)
  and (cast(:account as text) is null or account = :account)
  and (cast(:ordering_key as text) is null or ordering_key = :ordering_key)
  and (error_code = :error_code
       or cast(:error_code as text) is null and error_code is distinct from 'relay.discarded')
  and (cast(:since as interval) is null or created_at >= now() - cast(:since as interval))
  and (cast(:until as interval) is null or created_at <= now() - cast(:until as interval))
order by id limit cast(:limit as bigint)
"""

# What is in an open call is left alone: locking it would hold up the worker that settles it.
LOCK = """
select id from {schema}.outbox
where id = any (cast(:ids as bigint[]))
  and id not in (select unnest(message_ids) from {schema}.call where settled_at is null)
order by id
for update
"""

# One row for each id given, also for those that nobody knows.
LOOK = """
select named.id, o.status, o.account, o.ordering_key, o.error_code,
    open_call.id as open_call_id,
    o.available_at = 'infinity' as held,
    coalesce(o.deliver_before <= now(), false) as expired,
    cast(o.content as text) = :tombstone as redacted,
    cast(extract(epoch from now() - o.created_at) as double precision) as age_seconds
from unnest(cast(:ids as bigint[])) as named (id)
left join {schema}.outbox o on o.id = named.id
left join (select id, unnest(message_ids) as message_id from {schema}.call where settled_at is null) as open_call
    on open_call.message_id = named.id
order by named.id
"""

# Due now, or one after another so many seconds apart. The error stays: it is that of the last outcome.
RETRY = """
update {schema}.outbox set status = 'pending', attempts = 0, call_id = null, result_index = null, finished_at = null,
    available_at = now() + make_interval(secs => cast(:seconds_apart as double precision) * (chosen.position - 1))
from unnest(cast(:ids as bigint[])) with ordinality as chosen (id, position)
where outbox.id = chosen.id
"""

DISCARD = """
update {schema}.outbox set status = 'failed', error_code = 'relay.discarded', error_message = :reason,
    finished_at = coalesce(finished_at, now())
where id = any (cast(:ids as bigint[]))
"""

PAUSE_IN_FORCE = """
select until, reason, by from {schema}.pause where scope = :scope and (until is null or until > now())
"""

# The operator has the last word: the end may come sooner than before, and no new credential lifts this pause.
SET_PAUSE = """
insert into {schema}.pause (scope, until, reason, by)
values (:scope, now() + cast(:lasting as interval), :reason, :by)
on conflict (scope) do update set until = excluded.until, reason = excluded.reason, error_code = null,
    credential = null, since = excluded.since, by = excluded.by
returning until
"""

END_PAUSE = """
delete from {schema}.pause where scope = :scope and (until is null or until > now())
returning scope
"""

# What was there, as an auditor who has kept the text can prove it.
DIGESTS = """
select id, encode(sha256(convert_to(cast(content as text), 'UTF8')), 'hex') as content,
    encode(sha256(convert_to(cast(json_ex_content as text), 'UTF8')), 'hex') as json_ex_content,
    encode(sha256(convert_to(cast(headers as text), 'UTF8')), 'hex') as headers
from {schema}.outbox where id = any (cast(:ids as bigint[])) order by id
"""

# The trigger that keeps the texts as they were inserted lets this through while the setting is on.
ALLOW_REDACTING = "select set_config('relay.redacting', :switch, true)"

REDACT = """
update {schema}.outbox set content = cast(:tombstone as json), json_ex_content = null, headers = null
where id = any (cast(:ids as bigint[]))
"""

# Exactly what was inserted, for eyes that may see it.
TEXTS = """
select cast(content as text) as content, cast(json_ex_content as text) as json_ex_content,
    cast(headers as text) as headers
from {schema}.outbox where id = :id
"""

# The trigger that keeps calls and attempts from being removed lets this through while the setting is on.
ALLOW_PRUNING = "select set_config('relay.pruning', 'on', true)"

CUTOFF = "select now() - cast(:older_than as interval)"

# A page of the primary key, oldest ids first: no index on finished_at has to be kept for this. Ids follow the order of
# inserts, so a page on which everything was inserted later than the cutoff is the last one worth a look.
PRUNE_MESSAGES = """
with page as materialized (
    select id, created_at from {schema}.outbox where id > :after order by id limit cast(:batch as bigint)
),
finished as materialized (
    select id from {schema}.outbox
    where id in (select id from page) and status <> 'pending' and finished_at < :cutoff
    order by id
    for update skip locked
),
gone as (
    delete from {schema}.outbox where id in (select id from finished) returning id
),
gone_attempts as (
    delete from {schema}.attempt where message_id in (select id from finished) returning message_id
)
select max(id) as after, coalesce(min(created_at) < :cutoff, false) as more,
    array(select id from gone order by id) as ids, (select count(*) from gone_attempts) as attempts
from page
"""

# Calls that no message is left of, also those no attempt names (released, split).
PRUNE_CALLS = """
with page as materialized (
    select id, claimed_at from {schema}.call where id > :after order by id limit cast(:batch as bigint)
),
gone as (
    delete from {schema}.call
    where id in (select id from page) and settled_at < :cutoff
      and not exists (select from {schema}.outbox where outbox.id = any (call.message_ids))
    returning id
)
select max(id) as after, coalesce(min(claimed_at) < :cutoff, false) as more,
    array(select id from gone order by id) as ids
from page
"""

COUNT_PRUNABLE = """
select count(*) as messages, cast(extract(epoch from now() - min(finished_at)) as double precision) as oldest_seconds
from {schema}.outbox where status <> 'pending' and finished_at < now() - cast(:older_than as interval)
"""

# The ledger, always in the transaction of what it tells.
RECORD = """
insert into {schema}.action (actor, action, reason, selection, message_ids, count)
values (:actor, :action, :reason, cast(:selection as json), cast(:message_ids as bigint[]), :count)
returning id
"""
