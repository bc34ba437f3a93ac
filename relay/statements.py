"""The relay's own SQL: settle, extend, pause. One constant a statement, with the reason for its shape.

Written as SQL text and not as expressions, because these few statements are what an operator reads in
``pg_stat_activity``, what a plan guard explains, and what a stranger has to be convinced of. Only the schema's name is
put in. All clocks are the database's. Everything that grows with a batch travels as arrays: one statement, any number
of rows.
"""

from __future__ import annotations

from relay.sql import SOUND, named_by_open_calls

# The guard of every settle: the session that closes the call owns its outcome. A call that is not returned was lost.
# The nonce tells our call from one that got the same id after the database went back in time (see CallKey).
CLOSE_CALLS = """
update {schema}.call set settled_at = now(), outcome = v.outcome, http_status = v.http_status,
    request_id = v.request_id, error_code = v.error_code, sub_code = v.sub_code, error_message = v.error_message,
    request_bytes = v.request_bytes, duration_ms = v.duration_ms,
    sent_at = now() - make_interval(secs => v.sent_seconds_ago)
from unnest(cast(:ids as bigint[]), cast(:outcomes as text[]), cast(:http_statuses as smallint[]),
    cast(:request_ids as text[]), cast(:error_codes as text[]), cast(:sub_codes as text[]),
    cast(:error_messages as text[]), cast(:request_bytes as integer[]), cast(:durations_ms as integer[]),
    cast(:sent_seconds_ago as double precision[]), cast(:nonces as bigint[]))
    as v (id, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms,
          sent_seconds_ago, nonce)
where call.id = v.id and call.nonce = v.nonce and call.settled_at is null
returning call.id, call.nonce
"""

# A commit whose acknowledgement was lost is written once more, and finds its calls settled. Nobody settles a call of
# ours but ourselves, and those who recover it, with an error code that no answer has.
SETTLED_BEFORE = """
select call.id, call.nonce
from unnest(cast(:ids as bigint[]), cast(:nonces as bigint[]), cast(:outcomes as text[])) as v (id, nonce, outcome)
join {schema}.call on call.id = v.id and call.nonce = v.nonce
where call.nonce <> 0 and call.outcome = v.outcome and call.error_code is distinct from 'relay.lease_expired'
"""

# The halves that were named in that commit: still in nobody's hands, so their leases run anew from now.
TAKE_HALVES = """
update {schema}.call set lease_until = now() + make_interval(secs => cast(:lease_seconds as double precision))
where settled_at is null and id > (select min(id) from unnest(cast(:parent_ids as bigint[])) as parent (id))
  and parent_id = any (cast(:parent_ids as bigint[])) and worker = :worker
returning id, nonce, account, message_ids
"""

# Calls of our own that were named in a commit whose acknowledgement was lost: none of them was begun.
GIVE_BACK = """
update {schema}.call set settled_at = now(), outcome = 'released'
where settled_at is null and worker = :worker and nonce = any (cast(:nonces as bigint[]))
returning nonce
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
        cast(:outcomes as text[]), cast(:pays as boolean[]), cast(:final as boolean[]),
        cast(:error_codes as text[]), cast(:error_messages as text[]), cast(:row_codes as text[]),
        cast(:row_messages as text[]), cast(:delays_seconds as double precision[]))
        as v (id, call_id, result_index, outcome, pays, final, error_code, error_message, row_code, row_message,
              delay_seconds)
),
marked as (
    update {schema}.outbox set
        status = case when v.final then 'failed' else 'pending' end,
        attempts = attempts + cast(v.pays as integer),
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

# Of a call that cannot be settled whole (see store/apart.py): nobody else settles it meanwhile.
LOCK_OPEN = """
select id from {schema}.call
where id = cast(:id as bigint) and nonce = cast(:nonce as bigint) and settled_at is null
for update
"""

# Where a settle wrote less than it named (see store/swallowed.py): what is as if it had not been written.
STILL_OPEN = """
select call.id from unnest(cast(:ids as bigint[]), cast(:nonces as bigint[])) as v (id, nonce)
join {schema}.call on call.id = v.id and call.nonce = v.nonce where call.settled_at is null
"""
STILL_PENDING = """
select id from {schema}.outbox where id = any (cast(:ids as bigint[])) and status = 'pending'
"""
WITHOUT_ATTEMPT = """
select o.id from unnest(cast(:ids as bigint[]), cast(:call_ids as bigint[])) as v (id, call_id)
join {schema}.outbox o on o.id = v.id
where (o.status = 'pending' or o.status = 'failed' and o.call_id = v.call_id)
  and not exists (select from {schema}.attempt a where a.message_id = v.id and a.call_id = v.call_id)
"""
# What has a say in writing to this table and is not of the relay.
STANDING_ON = """
select 'rule' as kind, cast(rulename as text) as name from pg_rewrite
where ev_class = to_regclass(:table) and ev_enabled <> 'D'
union all
select 'trigger', cast(t.tgname as text) from pg_trigger t join pg_proc f on f.oid = t.tgfoid
where t.tgrelid = to_regclass(:table) and not t.tgisinternal and t.tgenabled <> 'D'
  and f.pronamespace is distinct from to_regnamespace(:ours)
order by 1, 2
"""

# What messages whose attempts are used up went through: asked for those alone, before they end. As many rows as they
# paid attempts, the newest ones: a person's retry began anew, and what was before it does not count.
HISTORIES = """
select o.id, o.attempts, count(c.id) as blamed,
    cast(extract(epoch from now() - min(a.at)) as double precision) as seconds
from {schema}.outbox o
cross join lateral (
    select call_id, at from {schema}.attempt where message_id = o.id order by call_id desc limit o.attempts) as a
left join {schema}.call c on c.id = a.call_id and c.outcome = 'partial'
where o.id = any (cast(:ids as bigint[]))
group by o.id, o.attempts
"""

# A batch refused for its content goes on as halves: child calls of the same worker, before another worker can claim.
SPLIT = """
insert into {schema}.call (account, worker, message_ids, parent_id, lease_until, nonce)
select min(half.account), :worker, array_agg(half.id order by half.position), min(half.parent_id),
    now() + make_interval(secs => cast(:lease_seconds as double precision)), min(half.nonce)
from (select {schema}.name_calls()) as naming
cross join unnest(cast(:batches as integer[]), cast(:accounts as text[]), cast(:parent_ids as bigint[]),
    cast(:ids as bigint[]), cast(:nonces as bigint[])) with ordinality
    as half (batch, account, parent_id, id, nonce, position)
group by half.batch
order by half.batch
returning id, nonce, account, message_ids
"""

# A function of revision 0008: a worker has no right to change which messages a call names.
LEAVE_OUT_EXPIRED = """
select {schema}.leave_out_expired(cast(:id as bigint), cast(:nonce as bigint))
"""

EXTEND = """
update {schema}.call set lease_until = now() + make_interval(secs => cast(:lease_seconds as double precision))
from unnest(cast(:ids as bigint[]), cast(:nonces as bigint[])) as v (id, nonce)
where call.id = v.id and call.nonce = v.nonce and settled_at is null
returning call.id, call.nonce
"""

# Calls of any worker whose lease ran out: the worker died or was cut off, and nobody knows whether the call was made.
LOCK_LAPSED = """
select c.id, c.nonce, c.account, c.worker, named.sound, case when named.sound then c.message_ids end as message_ids,
    case when named.sound then
        array(select coalesce(o.attempts, 0) from unnest(c.message_ids) with ordinality as m (id, position)
              left join {schema}.outbox o on o.id = m.id order by m.position) end as attempts
from {schema}.call c cross join lateral (select {sound} as sound) as named
where c.settled_at is null and c.lease_until < now()
  and (cast(:only as bigint[]) is null or c.id = any (cast(:only as bigint[]))) and c.id <> all (cast(:but as bigint[]))
order by c.lease_until limit cast(:calls as integer)
for update of c skip locked
""".replace("{sound}", SOUND)

LAPSED = """
select id from {schema}.call where settled_at is null and lease_until < now() and id <> all (cast(:but as bigint[]))
order by lease_until limit cast(:calls as integer)
"""

# A pause without an end outlasts one with an end; of two ends the later one counts. Another code is another pause.
_OR_LONGER = """
on conflict (scope) do update set
    until = case when p.until is null or excluded.until is null then null
                 else greatest(p.until, excluded.until) end,
    reason = case when p.until is null then p.reason else excluded.reason end,
    error_code = case when p.until is null then p.error_code else excluded.error_code end,
    credential = case when p.until is null then p.credential else excluded.credential end,
    by = case when p.until is null then p.by else excluded.by end,
    since = case when p.until <= now() or p.until is not null and p.error_code is distinct from excluded.error_code
                 then excluded.since else p.since end
"""
PAUSE = (
    """
insert into {schema}.pause as p (scope, until, reason, error_code, credential, by)
values (:scope, now() + make_interval(secs => cast(:seconds as double precision)), :reason, :error_code,
    :credential, :by)"""
    + _OR_LONGER
)

# Accounts without credentials, each once: all that were met together, and in an order that all workers keep. One that
# is paused without an end already stays as it is.
PAUSE_ALL = (
    """
insert into {schema}.pause as p (scope, reason, error_code, credential, by)
select v.scope, v.reason, :error_code, :credential, :by
from unnest(cast(:scopes as text[]), cast(:reasons as text[])) as v (scope, reason)
order by v.scope"""
    + _OR_LONGER
    + "where p.until is not null\n"
)

# An end that never comes is none; and before PostgreSQL 17 nothing can be subtracted from it.
_IN_FORCE = """
select scope, case when isfinite(until) then extract(epoch from until - now()) end as seconds_left,
    until is null or not isfinite(until) as endless, {words}, credential
from {schema}.pause where (until is null or until > now())
"""
_WORDS = "reason, error_code"
# In a database that is not in UTF-8 a person may have written what nobody else can read. Accounts with such a name are
# left alone by the claim itself.
_NO_WORDS = "'paused' as reason, cast(null as text) as error_code"
_READABLE = " and scope ~ '^[ -~]+$'"
PAUSES = _IN_FORCE.replace("{words}", _WORDS)
PAUSES_WITHOUT_WORDS = _IN_FORCE.replace("{words}", _NO_WORDS) + _READABLE

# The pauses of app keys, and of a few accounts. Others may be paused by the hundred thousand, and that is for the claim
# to heed. Scopes are account:NAME or app:KEY: in whatever order texts are, the latter come after 'ad'.
_OF_APPS = " and scope > 'ad' and scope like 'app:%'"
_OF_THESE = " and scope = any (cast(:scopes as text[]))"
PAUSES_OF = f"{PAUSES}{_OF_APPS} union all {PAUSES}{_OF_THESE}"
PAUSES_OF_WITHOUT_WORDS = f"{PAUSES_WITHOUT_WORDS}{_OF_APPS} union all {PAUSES_WITHOUT_WORDS}{_OF_THESE}"

# Pauses of accounts for a credential, some after some.
REFUSED_ACCOUNTS = """
select scope, credential from {schema}.pause
where scope > cast(:after as text) and scope < 'ad' and credential is not null and (until is null or until > now())
order by scope limit cast(:most as integer)
"""

# The same of those for which no credential is known at all, and whether anything of theirs is pending. By one look into
# each of two indexes for an account: joined instead, all that is pending might be read. Parameters as before.
UNKNOWN_ACCOUNTS = """
select scope, credential, not exists (
        select from {schema}.outbox o
        where o.status = 'pending' and o.ordering_key is null and o.account = substr(paused.scope, 9)
        union all
        select from {schema}.outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = substr(paused.scope, 9)) as idle
from (
    select scope, credential from {schema}.pause
    where scope > cast(:after as text) and scope < 'ad' and credential is not null and error_code = :error_code
      and (until is null or until > now())
    order by scope limit cast(:most as integer)) as paused
order by scope
"""

# Pauses for a refused credential end when the credential is another one. Guarded by what was read. A function of
# revision 0008: a login that may delete from a table may lock it against everybody.
LIFT_PAUSES = """
select scope from {schema}.lift_pauses(cast(:scopes as text[]), cast(:credentials as text[])) as scope
"""

# Calls of one app key keep their distance, whichever worker makes them: each call reserves the next moment. Nothing is
# reserved, and there is no row, where that is further away than a call shall wait.
RESERVE = """
insert into {schema}.pace as p (app_key, next_at)
values (:app_key, clock_timestamp() + make_interval(secs => cast(:step_seconds as double precision)))
on conflict (app_key) do update set
    next_at = greatest(p.next_at, clock_timestamp()) + make_interval(secs => cast(:step_seconds as double precision))
where p.next_at <= clock_timestamp() + make_interval(secs => cast(:within_seconds as double precision))
returning extract(epoch from p.next_at - clock_timestamp()) - cast(:step_seconds as double precision) as wait_seconds
"""

# A function of revision 0008: a worker has no right to write the ledger in any other way.
RECORD_START = """
select {schema}.record_start(:worker, :version, cast(:settings as json))
"""

NOW = """
select extract(epoch from clock_timestamp())
"""

WRITABLE = """
select current_setting('transaction_read_only') = 'off'
"""

# What --drain waits for: messages that will still move without a person. Held ones, those behind a head that is held or
# failed and holds its key, and those of an account that is paused until a person resumes it do not count.
STILL_MOVING = """
select exists (select from {schema}.call where settled_at is null) or exists (
    select from (
        select account, available_at from {schema}.outbox where status = 'pending' and ordering_key is null
        union all
        select head.account, head.available_at from (
            select distinct on (account, ordering_key) account, ordering_key, id, available_at
            from {schema}.outbox where status = 'pending' and ordering_key is not null
            order by account, ordering_key, id) as head
        where not (cast(:failed_holds as boolean) and exists (
            select from {schema}.outbox earlier
            where earlier.status = 'failed' and earlier.ordering_key is not null and earlier.account = head.account
              and earlier.ordering_key = head.ordering_key and earlier.id < head.id
              and earlier.error_code is distinct from 'relay.discarded'))
    ) as pending
    where available_at < 'infinity' and account <> all (cast(:skip_accounts as text[]))
      and not exists (
          select from {schema}.pause where scope = 'account:' || account and (until is null or until = 'infinity')))
"""

# Where a claim is refused: what could be the reason, without a text of it. Each half has its partial index.
PENDING_IDS = """
select array_agg(id) from (
    select id from {schema}.outbox where status = 'pending' and ordering_key is null
    union all
    select id from {schema}.outbox where status = 'pending' and ordering_key is not null
    limit 1000000) as pending
where id not in ({named})
""".replace("{named}", named_by_open_calls())

# All that a claim reads of a message.
READ_TEXTS = """
select topic, cast(content as text), account, target_group, target_app_key, cast(json_ex_content as text), ordering_key
from {schema}.outbox where id = any (cast(:ids as bigint[]))
"""

FAIL_UNREADABLE = """
update {schema}.outbox set status = 'failed', finished_at = now(), error_code = 'relay.unreadable',
    error_message = 'PostgreSQL cannot hand out this message: see the log of the worker'
where id = any (cast(:ids as bigint[])) and status = 'pending'
  and id not in ({named})
returning id
""".replace("{named}", named_by_open_calls())

ACCOUNTS_OF = """
select distinct account from {schema}.outbox where id = any (cast(:ids as bigint[]))
"""

COUNT_PENDING = """
select (select count(*) from {schema}.outbox where status = 'pending' and ordering_key is null)
    + (select count(*) from {schema}.outbox where status = 'pending' and ordering_key is not null)
"""
