"""The operators' own SQL: find, retry, discard, pause, redact, reveal, prune, archive, the ledger.

Same form as ``relay.statements``: SQL text, the schema's name put in, the database's clock, arrays for what grows.
Which messages a verb may change, and the ledger, are functions of the database (revision 0007), so that nobody needs a
right on a table for what every operator may do. Redacting, revealing and pruning are the owner's, and stand here.
"""

from __future__ import annotations

# Ids of messages, as a verb would find them.
FIND = """
select {schema}.find(:verb, :status, :error_code, :topic, :account, :ordering_key, :since, :until, :limit)
"""

# One row for each id given, also for those that nobody knows.
WHY_NOT = """
select id, why_not, account, ordering_key, age_seconds, version from {schema}.why_not(:verb, cast(:ids as bigint[]))
"""

RETRY = """
select changed, left_alone, why_not, action
from {schema}.retry(cast(:ids as bigint[]), :reason, :actor, cast(:selection as json), :per_second,
    cast(:versions as bigint[]))
"""

DISCARD = """
select changed, left_alone, why_not, action
from {schema}.discard(cast(:ids as bigint[]), :reason, :actor, cast(:selection as json), cast(:versions as bigint[]))
"""

# Through the view, for logins that may read no table.
PAUSES_IN_FORCE = """
select scope, until, reason, by, since from {schema}.audit_pause
where in_force and (cast(:scopes as text[]) is null or scope = any (cast(:scopes as text[])))
  and (cast(:error_code as text) is null or error_code = cast(:error_code as text))
order by scope
"""

PAUSE = """
select until, {schema}.pause_scope(:scope, until, :reason, :actor, cast(:selection as json),
    cast(:seen as timestamptz)) as action
from (select now() + cast(:lasting as interval) as until) as pause
"""

# In an order that all keep, so that nobody waits for who waits for them.
RESUME = """
select scope, {schema}.resume_scope(scope, :reason, :actor, cast(:selection as json), seen) as action
from (
    select scope, seen from unnest(cast(:scopes as text[]), cast(:seen as timestamptz[])) as v (scope, seen)
    order by scope offset 0) as named
"""

# The messages that may be redacted, locked, and those that are left alone.
LOCK = """
select chosen, left_alone, why_not from {schema}.lock_messages(:verb, cast(:ids as bigint[]))
"""

# Where the hash is still the plain one of an earlier version it gets a salt first: it must not outlive the content.
SALT = "select {schema}.salt_messages(cast(:ids as bigint[]))"

# What was there, with the salt that goes with it: a fact in the ledger, and no way back to the text.
DIGESTS = """
select id, encode(sha256(content_salt || convert_to(cast(content as text), 'UTF8')), 'hex') as content,
    encode(sha256(content_salt || convert_to(cast(json_ex_content as text), 'UTF8')), 'hex') as json_ex_content,
    encode(sha256(content_salt || convert_to(cast(headers as text), 'UTF8')), 'hex') as headers
from (
    select id, content, json_ex_content, headers, content_salt from {schema}.outbox
    union all
    select id, content, json_ex_content, headers, content_salt from {schema}.outbox_archive) as message
where id = any (cast(:ids as bigint[])) order by id
"""

# The trigger that keeps the texts as they were inserted lets this through while the setting is on.
ALLOW_REDACTING = "select set_config('relay.redacting', :switch, true)"

REDACT = """
update {schema}.outbox set content = cast(:tombstone as json), json_ex_content = null, headers = null, content_salt = ''
where id = any (cast(:ids as bigint[]))
"""
REDACT_ARCHIVED = REDACT.replace("{schema}.outbox", "{schema}.outbox_archive")

# Exactly what was inserted, for eyes that may see it.
TEXTS = """
select cast(content as text) as content, cast(json_ex_content as text) as json_ex_content,
    cast(headers as text) as headers, error_message
from {schema}.outbox where id = :id
union all
select cast(content as text), cast(json_ex_content as text), cast(headers as text), error_message
from {schema}.outbox_archive where id = :id
"""

# What was said of its attempts, and of those calls: each by an index, for calls have none from a message to them.
ERROR_TEXTS = """
select true as of_attempt, call_id, error_message from {schema}.attempt where message_id = :id
union all
select true, call_id, error_message from {schema}.attempt_archive where message_id = :id
union all
select false, id, error_message from {schema}.call where id = any (cast(:calls as bigint[]))
union all
select false, id, error_message from {schema}.call_archive where id = any (cast(:calls as bigint[]))
"""

# The trigger that keeps calls and attempts from being removed lets this through while the setting is on.
ALLOW_PRUNING = "select set_config('relay.pruning', 'on', true)"

CUTOFF = "select now() - cast(:older_than as interval)"

# What is taken out of the books, by the days and in the words of audit_daily.
_BY_DAY = """by_day as (
    select min(zone) as zone, json_object_agg(day, json_build_object('inserted', inserted, 'done', done,
        'failed', failed, 'unknown', unknown) order by day) as days
    from (
        select cast(g.created_at at time zone zone as date) as day, min(zone) as zone, count(*) as inserted,
            count(*) filter (where g.status = 'done') as done, count(*) filter (where g.status = 'failed') as failed,
            count(unclear.message_id) as unknown
        from (select coalesce(nullif(current_setting('relay.zone', true), ''), 'Asia/Shanghai') as zone) as here
        cross join gone g
        left join (select distinct message_id from gone_attempts where outcome = 'unknown') as unclear
            on unclear.message_id = g.id
        group by 1) as one
)"""

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
    delete from {schema}.outbox where id in (select id from finished)
    returning id, status, created_at, content_sha256, content_salt
),
gone_attempts as (
    delete from {schema}.attempt where message_id in (select id from finished) returning message_id, outcome
),
{days}
select max(id) as after, coalesce(min(created_at) < :cutoff, false) as more,
    array(select id from gone order by id) as ids, (select count(*) from gone_attempts) as attempts,
    (select case when bool_and(content_salt is not null) then  -- without one, a hash answers guesses
        encode(sha256(string_agg(content_sha256, cast('' as bytea) order by id)), 'hex') end from gone)
        as hashes_sha256,
    (select days from by_day) as days, (select zone from by_day) as zone
from page
""".replace("{days}", _BY_DAY)

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

# Keys whose messages left before; the function of revision 0008 says how.
FORGET_KEYS = """
select {schema}.forget_keys(:before, :batch, :actor, :reason)
"""

MAY_FORGET_KEYS = """
select has_function_privilege('{schema}.forget_keys(timestamptz, integer, text, text)', 'execute')
"""

COUNT_PRUNABLE = """
select count(*) as messages, cast(extract(epoch from now() - min(finished_at)) as double precision) as oldest_seconds
from {schema}.outbox where status <> 'pending' and finished_at < now() - cast(:older_than as interval)
"""

# One batch; the functions of revision 0006 say how. ``busy``: another archiver is at it, and nothing was moved.
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

# All hashes in the order of their ids, many in a row of the answer. In one statement, which reads the month once: were
# it asked for page by page, each page might be found by reading all of it again.
HASHES = """
select string_agg(content_sha256, cast('' as bytea) order by id) as hashes
from (
    select id, content_sha256, (row_number() over (order by id) - 1) / cast(:together as bigint) as page
    from {schema}.outbox_archive where finished_at >= :begins and finished_at < :ends) as message
group by page order by page
"""

ARCHIVED_DAYS = """
with gone as (
    select id, status, created_at from {schema}.outbox_archive where finished_at >= :begins and finished_at < :ends
),
gone_attempts as (
    select message_id, outcome from {schema}.attempt_archive where finished_at >= :begins and finished_at < :ends
),
{days}
select days, zone from by_day
""".replace("{days}", _BY_DAY)

# Nobody archives while a month is dropped.
LOCK_OUT_ARCHIVERS = """
select {schema}.archive_alone()
"""

# The ledger, always in the transaction of what it tells.
RECORD = """
select {schema}.record_action(
    :action, :actor, :reason, cast(:selection as json), cast(:message_ids as bigint[]), cast(:count as integer))
"""
