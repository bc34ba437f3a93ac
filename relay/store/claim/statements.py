"""The SQL of the claim: lock what is ready, leave out what must wait, name calls. Same form as ``statements.py``.

The claim needs two statements in one READ COMMITTED transaction. LOCK_READY locks rows (``skip locked``) but its
snapshot may be older than another worker's claim that has just been committed. NAME_CALLS takes a new snapshot while
the row locks are held: it sees that claim and leaves those messages out. So two workers never name one message, though
no message row is written.
"""

from __future__ import annotations

from relay.sql import named_by_open_calls

MESSAGE = "message"  # the kind of a row, beside an account in its turn

# The claim, part by part. Accounts take turns: step along the account column of the two partial indexes from where the
# last claim stopped. The last step only tells whether the round ends there: that account is not looked at. Within an
# account, messages without a key come by due time; of the others only the head of each ordering key counts, found by
# stepping from key to key. A head that is waiting or in flight holds its key, and nothing else. Calls before
# ``open_from`` are known to be settled (see FIRST_OPEN_CALL). What is put aside counts as in flight (see
# store/apart.py).
_NAMED = named_by_open_calls("call.id >= cast(:open_from as bigint)")

_IN_FLIGHT = """
in_flight as materialized ({named}
    union all
    select unnest(cast(:aside as bigint[]))
),""".replace("{named}", _NAMED)

# It starts before the first account, at row 0, so that one step is planned and set up, not two.
_EVERY_TURN = """
turn (nth, account) as (
    select 0, cast(:after_account as text)
    union all
    select turn.nth + 1, least(
        (select o.account from {schema}.outbox o
         where o.status = 'pending' and o.ordering_key is null and o.account > turn.account
         order by o.account limit 1),
        (select o.account from {schema}.outbox o
         where o.status = 'pending' and o.ordering_key is not null and o.account > turn.account
         order by o.account limit 1))
    from turn
    where turn.account is not null and turn.nth <= cast(:accounts as integer)
),"""

_KNOWN_TURN = """
turn (nth, account) as (
    select known.nth, known.account
    from unnest(cast(:known_accounts as text[])) with ordinality as known (account, nth)
),"""

# The accounts that are not left alone, each with the place from which it is looked at: of its ordering keys, or, where
# only known places are looked at, of its messages without a key. Such a floor is where the last claim of this account
# stopped; nobody who inserts within a second commits behind it. An account that had plenty of both ``kinds``, with and
# without a key, two claims in a row gets half its share of each, so that no more is locked than is taken.
_OPEN_TURN = """
open_turn as materialized (
    select turn.nth, turn.account, case when turn.account = any (cast(:mixed as text[])) then 2 else 1 end as kinds,
        {place}
    where turn.account is not null and turn.nth between 1 and cast(:accounts as integer)
      and turn.account not in (select unnest(cast(:skip_accounts as text[])))
      and not exists (
          select from {schema}.pause
          where scope = 'account:' || turn.account and (until is null or until > now()))
),
share (messages) as (
    select cast(:batch as integer) * greatest(1, cast(:slots as integer) / greatest(1, count(*))) from open_turn
),"""

# Of one kind, rounded up.
_SHARE = "((select messages from share) + kinds - 1) / kinds"

_FROM_KEYS = _OPEN_TURN.replace(
    "{place}",
    """(cast(:keys as text[]))[array_position(cast(:key_accounts as text[]), turn.account)] as after_key
    from turn""",
)

_FROM_FLOORS = _OPEN_TURN.replace(
    "{place}",
    """case when floor.id is null then '-infinity'
             else least(timestamptz 'epoch' + floor.due_us * interval '1 microsecond', now() - interval '1 second')
        end as floor_at,
        coalesce(floor.id, 0) as floor_id
    from turn
    left join unnest(cast(:floor_accounts as text[]), cast(:floors_us as bigint[]), cast(:floor_ids as bigint[]))
        as floor (account, due_us, id) using (account)""",
)

# To find one entry of an index costs a read of its page, with all that is on it: so a step takes the next few messages,
# and of each key among them the first. It ends when as many heads are ready as there may be messages, or twice as many
# were looked at. More than 8 in a step cost more where keys have dozens of messages than they save where they have one.
_EVERY_HEAD = """
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
                select o.ordering_key, o.id, o.available_at from {schema}.outbox o
                where o.status = 'pending' and o.ordering_key is not null and o.account = stretch.account
                  and o.ordering_key > stretch.last_key
                order by o.ordering_key, o.id limit 8) as few
            order by few.ordering_key, few.id) as first) as next
    where stretch.last_key is not null and greatest(stretch.ready, stretch.looked / 2) < {share}
),
head (account, ordering_key, id, available_at, more) as (
    select stretch.account, first.ordering_key, first.id, first.available_at,
        greatest(stretch.ready, stretch.looked / 2) >= {share}
    from stretch cross join lateral unnest(stretch.keys, stretch.ids, stretch.due)
        as first (ordering_key, id, available_at)
),""".replace("{share}", _SHARE)

_KNOWN_HEAD = """
head (account, ordering_key, id, available_at, more) as (
    select t.account, known.ordering_key, first.id, first.available_at, false
    from open_turn t
    join unnest(cast(:head_accounts as text[]), cast(:head_keys as text[]), cast(:head_ids as bigint[]))
        as known (account, ordering_key, id) using (account)
    cross join lateral (
        select o.id, o.available_at from {schema}.outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = t.account
          and o.ordering_key = known.ordering_key and o.id >= known.id
        order by o.id limit 1) first
),"""

# Where workers crowd, they pass over every row without a key that was ever locked (its xmax tells): it is in
# flight, or has been named since this snapshot, or waits for a claim that looks at everything (see turns.py).
# Rows are of two kinds. Each message that was locked; and each account that had its turn, so that the next claim goes
# on where this one stopped: ``cursor`` is its last key where it has more, ``looked_us`` is null if it was left alone.
_READY = """
candidate as (
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            cast(extract(epoch from o.deliver_before) as double precision) as deliver_before,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast(:linger_seconds as double precision)) as may_wait,
            o.xmax = 0 as fresh,
            case when cast(:remember as boolean)
                 then cast(extract(epoch from greatest(o.available_at, 'epoch')) * 1000000 as bigint) end as due_us
        from {schema}.outbox o
        where o.status = 'pending' and o.ordering_key is null and o.account = t.account
          and {above}o.available_at <= now()
          and case when cast(:pass_over as boolean) then o.xmax = 0 else o.id not in (select id from in_flight) end
        order by o.available_at, o.id limit {share}
        for update of o skip locked) ready
    union all
    select t.nth, ready.* from open_turn t cross join lateral (
        select o.id, o.account, o.topic, cast(o.content as text) as content, o.target_group, o.target_app_key,
            cast(o.json_ex_content as text) as json_ex_content, o.ordering_key, o.attempts,
            cast(extract(epoch from o.deliver_before) as double precision) as deliver_before,
            coalesce(o.deliver_before <= now(), false) as expired,
            o.available_at > now() - make_interval(secs => cast(:linger_seconds as double precision)) as may_wait,
            false as fresh, cast(null as bigint) as due_us
        from head join {schema}.outbox o using (id)
        where head.account = t.account and head.available_at <= now() and o.status = 'pending'
          and o.available_at <= now() and o.id not in (select id from in_flight)
          and not (cast(:failed_holds as boolean) and exists (
              select from {schema}.outbox earlier
              where earlier.status = 'failed' and earlier.ordering_key is not null and earlier.account = o.account
                and earlier.ordering_key = o.ordering_key and earlier.id < o.id
                and earlier.error_code is distinct from 'relay.discarded'))
        order by o.id limit {share}
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
        array_agg(ordering_key) filter (where cast(:remember as boolean)) as keys,
        array_agg(id) filter (where cast(:remember as boolean)) as ids,
        array_agg(id in (select id from in_flight)) filter (where cast(:remember as boolean)) as in_flight
    from head where head.account = turn.account) as found
where turn.account is not null and turn.nth > 0
""".replace("{share}", _SHARE)

_FROM_THE_START = _READY.replace("{above}", "")
_ABOVE_FLOORS = _READY.replace("{above}", "(o.available_at, o.id) > (t.floor_at, t.floor_id) and ")

# A claim of one message takes as long as its plan takes to be set up, node by node, before anything is read: nothing
# stands in these that the mood has no use for.
LOCK_READY = "\nwith recursive" + _IN_FLIGHT + _EVERY_TURN + _FROM_KEYS + _EVERY_HEAD + _FROM_THE_START

# The same where an old snapshot keeps what is finished in the indexes, so that stepping walks through all of it: only
# the accounts, and from the places, that are known (see relay/store/claim/floors.py).
LOCK_KNOWN = "\nwith" + _IN_FLIGHT + _KNOWN_TURN + _FROM_FLOORS + _KNOWN_HEAD + _ABOVE_FLOORS

# The same for accounts that are known, with all their keys: where most accounts are left alone (see
# relay/store/claim/roster.py), nobody steps over them to come to the others.
LOCK_AMONG = "\nwith recursive" + _IN_FLIGHT + _KNOWN_TURN + _FROM_KEYS + _EVERY_HEAD + _FROM_THE_START

# There, this goes along all accounts and locks nothing. The limit keeps the planner from reading all pauses.
_AHEAD = """
ahead as (select * from turn where account is not null and nth > 0)
select turn.account, paused.account is not null or turn.account in (select unnest(cast(:skip_accounts as text[])))
    as left_alone
from ahead turn
left join lateral (
    select turn.account from {schema}.pause
    where scope = 'account:' || turn.account and (until is null or until > now()) limit 1) as paused on true
order by turn.nth
"""

ACCOUNTS_AHEAD = "\nwith recursive" + _EVERY_TURN + _AHEAD

# And this finds the accounts of new messages, wherever they stand among the others.
ACCOUNTS_OF_NEW = """
select new.account, new.newest_id, not new.pending or paused.account is not null as left_alone
from (
    select account, max(id) as newest_id, bool_or(status = 'pending') as pending
    from (
        select id, account, status from {schema}.outbox
        where id > coalesce(cast(:after as bigint), (select max(id) from {schema}.outbox) - cast(:most as integer))
        order by id limit cast(:most as integer)) as message
    group by account) as new
left join lateral (
    select new.account from {schema}.pause
    where new.pending and scope = 'account:' || new.account and (until is null or until > now()) limit 1) as paused
    on true
"""

# Accounts and keys that are not known yet have new messages, and new messages have new ids.
LOOK_FOR_NEW = """
select account, ordering_key, bool_or(status = 'pending') as pending, max(id) as newest_id
from (
    select id, account, ordering_key, status from {schema}.outbox
    where id > coalesce(cast(:after as bigint), (select max(id) from {schema}.outbox) - cast(:most as integer))
    order by id limit cast(:most as integer)
) as new
group by account, ordering_key
"""

# Of these, accounts without credentials may be paused for that already.
NOT_PAUSED = """
select new.account from unnest(cast(:accounts as text[])) as new (account)
left join lateral (
    select new.account from {schema}.pause
    where scope = 'account:' || new.account and (until is null or until > now()) limit 1) as paused on true
where paused.account is null
"""

# A message that a person retries lies before the floors. The last hundred rows of the ledger: ids commit in any order.
# ``history`` is another one wherever the database may have gone back in time: after every start of a server (so of a
# standby that was promoted, too), in every database and for every file of a table that was made anew by a restore.
RECENT_RETRIES = """
select coalesce(max(id), 0) as newest_id, array_agg(id) filter (where action = 'retry') as retries,
    concat_ws(' ', extract(epoch from pg_postmaster_start_time()),
        (select oid from pg_database where datname = current_database()),
        pg_relation_filenode('{schema}.call'), pg_relation_filenode('{schema}.outbox')) as history
from {schema}.action where id > coalesce(cast(:after as bigint), (select max(id) from {schema}.action)) - 100
"""

# Where open calls begin: every call before it is settled, also those of transactions that are still to commit. A worker
# that names calls holds the lock below until its transaction ends; when the lock can be taken alone after the newest id
# was read, no id up to that one is still on its way, and the oldest open call, or the newest of all, is a safe
# beginning.
NEWEST_CALL = """
select coalesce(max(id), 0) from {schema}.call
"""
NOBODY_NAMES_CALLS = """
select {schema}.nobody_names_calls()
"""
FIRST_OPEN_CALL = """
select least((select min(id) from {schema}.call where settled_at is null and id >= cast(:open_from as bigint)),
    cast(:newest as bigint) + 1)
"""

# Order, second part. An earlier message of the same key may still be in a transaction that has not committed. A session
# that writes one holds its bucket (see keep_order in revision 0002), so a bucket that can be locked for a moment is
# free of writers; what they committed is seen by NAME_CALLS, whose snapshot is younger still. Any login can hold an
# advisory lock: a writer has the table's own lock as well, so a bucket that no such session holds is as free
# (``look``). A writer whose locks appear only while they are listed draws a later id than those that were locked
# before.
KEYS_BEING_WRITTEN = """
with written as materialized (
    select cast(held.objid as integer) as bucket
    from pg_locks held join pg_locks writer using (virtualtransaction)
    where held.locktype = 'advisory' and held.objsubid = 2 and held.granted
      and held.classid = cast(cast('{schema}.outbox' as regclass) as oid)
      and held.database = (select oid from pg_database where datname = current_database())
      and writer.locktype = 'relation' and writer.relation = held.classid and writer.database = held.database
      and writer.mode = 'RowExclusiveLock' and writer.granted)
select key.position, key.written
from (
    select key.position, case
        when pg_try_advisory_lock(advisory.class, advisory.bucket)
            then case when pg_advisory_unlock(advisory.class, advisory.bucket) then null else true end
        else not cast(:look as boolean) or advisory.bucket in (select bucket from written) end as written
    from unnest(cast(:accounts as text[]), cast(:keys as text[])) with ordinality
        as key (account, ordering_key, position)
    cross join lateral (
        select cast(cast('{schema}.outbox' as regclass) as integer) as class,
            (hashtext(key.account) # hashtext(key.ordering_key)) & 255 as bucket) as advisory
    offset 0) as key
where key.written is not null
"""

# Who has one of these locks and writes nothing.
STRANGERS = """
select held.pid, coalesce(a.usename, 'unknown') as role, count(*) as locks,
    cast(extract(epoch from clock_timestamp() - a.state_change) as double precision) as seconds
from pg_locks held left join pg_stat_activity a on a.pid = held.pid
where held.locktype = 'advisory' and held.objsubid = 2 and held.granted and held.objid < 256
  and held.classid = cast(cast('{schema}.outbox' as regclass) as oid) and held.pid <> pg_backend_pid()
  and held.database = (select oid from pg_database where datname = current_database())
  and not exists (
      select from pg_locks writer
      where writer.virtualtransaction = held.virtualtransaction and writer.locktype = 'relation'
        and writer.relation = held.classid and writer.mode = 'RowExclusiveLock' and writer.granted)
group by held.pid, a.usename, a.state_change order by locks desc, held.pid limit 1
"""

# The claim itself: a call for each batch, naming its messages in the order they will be sent. The lock is taken before
# any id of a call is drawn: the groups come first. It is that of an empty table, which a function of the owner takes
# for us (revision 0008).
_NAME = """
insert into {schema}.call (account, worker, message_ids, lease_until, nonce)
select min(batch.account), :worker, array_agg(proposed.id order by proposed.position),
    now() + make_interval(secs => cast(:lease_seconds as double precision)), min(batch.nonce)
from {schema}.name_calls() as naming
cross join unnest(cast(:ids as bigint[]), cast(:batches as integer[])) with ordinality as proposed (id, batch, position)
join unnest(cast(:accounts as text[]), cast(:nonces as bigint[])) with ordinality as batch (account, nonce, number)
    on batch.number = proposed.batch
where proposed.id not in ({named}){held}
group by proposed.batch
order by proposed.batch
returning id, nonce, account, message_ids
""".replace("{named}", _NAMED)

# Of a key's messages none before ``key_from`` is pending. Where no message has a key, nothing has to be looked for.
NAME_CALLS = _NAME.replace(
    "{held}",
    """
  and proposed.id not in (
      select keyed.id
      from unnest(cast(:keyed_ids as bigint[]), cast(:key_accounts as text[]), cast(:keys as text[]),
          cast(:keys_from as bigint[])) as keyed (id, account, ordering_key, key_from)
      where exists (
          select from {schema}.outbox earlier
          where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = keyed.account
            and earlier.ordering_key = keyed.ordering_key and earlier.id < keyed.id and earlier.id >= keyed.key_from)
  )""",
)
NAME_CALLS_WITHOUT_KEYS = _NAME.replace("{held}", "")

# deliver_before has passed: never sent. The rows are locked by LOCK_READY and named by no call.
FAIL_EXPIRED = """
update {schema}.outbox set status = 'failed', finished_at = now(), error_code = 'relay.expired',
    error_message = 'deliver_before passed before the message could be sent'
where id = any (cast(:ids as bigint[])) and status = 'pending'
  and id not in ({named})
returning id
""".replace("{named}", named_by_open_calls())
