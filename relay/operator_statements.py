"""The operators' own SQL: find, retry, discard, pause, redact, reveal, prune, archive, the ledger.

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

# After LOCK, whose wait for an archiver's batch may have been in vain: what that moved is seen here.
LOCK_ARCHIVED = """
select id from {schema}.outbox_archive where id = any (cast(:ids as bigint[])) order by id for update
"""

# One row for each id given, also for those that nobody knows.
LOOK = """
select named.id, o.status, o.account, o.ordering_key, o.error_code, o.archived,
    open_call.id as open_call_id,
    o.available_at = 'infinity' as held,
    coalesce(o.deliver_before <= now(), false) as expired,
    cast(o.content as text) = :tombstone as redacted,
    cast(extract(epoch from now() - o.created_at) as double precision) as age_seconds
from unnest(cast(:ids as bigint[])) as named (id)
left join (
    select id, status, account, ordering_key, error_code, available_at, deliver_before, content, created_at,
        false as archived
    from {schema}.outbox
    union all
    select id, status, account, ordering_key, error_code, available_at, deliver_before, content, created_at, true
    from {schema}.outbox_archive) as o on o.id = named.id
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
from (
    select id, content, json_ex_content, headers from {schema}.outbox
    union all
    select id, content, json_ex_content, headers from {schema}.outbox_archive) as message
where id = any (cast(:ids as bigint[])) order by id
"""

# The trigger that keeps the texts as they were inserted lets this through while the setting is on.
ALLOW_REDACTING = "select set_config('relay.redacting', :switch, true)"

REDACT = """
update {schema}.outbox set content = cast(:tombstone as json), json_ex_content = null, headers = null
where id = any (cast(:ids as bigint[]))
"""
REDACT_ARCHIVED = REDACT.replace("{schema}.outbox", "{schema}.outbox_archive")

# Exactly what was inserted, for eyes that may see it.
TEXTS = """
select cast(content as text) as content, cast(json_ex_content as text) as json_ex_content,
    cast(headers as text) as headers
from {schema}.outbox where id = :id
union all
select cast(content as text), cast(json_ex_content as text), cast(headers as text)
from {schema}.outbox_archive where id = :id
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

# Calls that no message is left of, also those no attempt names (released, split). A call whose messages are in the
# archive belongs there too, and is moved and not deleted.
PRUNE_CALLS = """
with page as materialized (
    select id, claimed_at from {schema}.call where id > :after order by id limit cast(:batch as bigint)
),
gone as (
    delete from {schema}.call
    where id in (select id from page) and settled_at < :cutoff
      and not exists (select from {schema}.outbox where outbox.id = any (call.message_ids))
      and not exists (select from {schema}.outbox_archive where outbox_archive.id = any (call.message_ids))
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

# One batch; the functions of revision 0006 say how. ``busy``: somebody else is at it, and nothing was moved.
ARCHIVE_MESSAGES = """
select after, more, busy, messages, attempts, 0 as calls
from {schema}.archive_messages(:before, :batch, :failed_holds, :actor, :reason, :after)
"""
ARCHIVE_CALLS = """
select after, more, busy, 0 as messages, 0 as attempts, calls
from {schema}.archive_calls(:before, :batch, :actor, :reason, :after)
"""

COUNT_ARCHIVABLE = """
select count(*) as messages, count(dedupe_key) as dedupe_keys,
    cast(extract(epoch from now() - min(finished_at)) as double precision) as oldest_seconds
from {schema}.outbox
where status <> 'pending' and finished_at < now() - cast(:older_than as interval)
  and not (cast(:failed_holds as boolean) and status = 'failed' and ordering_key is not null
           and error_code is distinct from 'relay.discarded')
"""

# The months there are, as ``_y2026m01``, and how much each takes on disk.
ARCHIVED_MONTHS = """
select right(part.relname, 9) as suffix, cast(sum(pg_total_relation_size(part.oid)) as bigint) as bytes
from pg_inherits join pg_class part on part.oid = inhrelid
where inhparent in (cast('{schema}.outbox_archive' as regclass), cast('{schema}.call_archive' as regclass),
    cast('{schema}.attempt_archive' as regclass))
group by suffix order by suffix
"""

# The bounds are names of nothing: with them only the partitions of this month are read.
ARCHIVED_MONTH = """
select messages.count as messages, messages.first_id, messages.last_id,
    (select count(*) from {schema}.attempt_archive where finished_at >= :begins and finished_at < :ends) as attempts,
    (select count(*) from {schema}.call_archive where finished_at >= :begins and finished_at < :ends) as calls
from (select count(*), min(id) as first_id, max(id) as last_id
      from {schema}.outbox_archive where finished_at >= :begins and finished_at < :ends) as messages
"""

# The next hashes in the order of their ids, one after another.
NEXT_HASHES = """
select max(id) as after, string_agg(content_sha256, cast('' as bytea) order by id) as hashes
from (
    select id, content_sha256 from {schema}.outbox_archive
    where finished_at >= :begins and finished_at < :ends and id > :after
    order by id limit 10000) as page
"""

# Nobody archives while a month is dropped.
LOCK_OUT_ARCHIVERS = """
select pg_try_advisory_xact_lock(cast(cast('{schema}.outbox' as regclass) as integer), 257)
"""

# The ledger, always in the transaction of what it tells.
RECORD = """
insert into {schema}.action (actor, action, reason, selection, message_ids, count)
values (:actor, :action, :reason, cast(:selection as json), cast(:message_ids as bigint[]), :count)
returning id
"""
