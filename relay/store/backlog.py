"""How much waits, for the metrics: bounded questions, whatever is in the tables. They follow the partial indexes.

Finished rows are never read, and of pending ones no more than some ten thousand. Where there are more, the accounts
are stepped through from index entry to index entry, and each is counted up to its share: the numbers are lower bounds.
The accounts that this worker claims of come first, so that no crowd of made-up ones hides them.

Unlike in ``relay status``, which a person waits for, nothing here may take long: each statement has a limit on its
time, and so have all together. Dead index entries, which no LIMIT bounds, are why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from relay.errors import UnreachableError
from relay.gauges import AccountBacklog, Backlog
from relay.message import NO_CREDENTIALS
from relay.reasons import CREDENTIALS_REFUSED, THROTTLED, UNREADABLE_REQUESTS
from relay.store.claim.memory import Memory
from relay.store.running import fetch

STATEMENT_MS = 500
_ALL_SECONDS = 1.5
_OLDEST_ACCOUNTS = 400


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is counted one by one: ``messages`` without an ordering key, fewer with one (their rows are read, for
    the index does not have the time they are due at), ``keys``. Where there is more: of the ``accounts`` that this
    worker claimed of last, and of as many of the first ones.
    """

    messages: int = 10_000
    keyed: int = 2_000
    keys: int = 500
    accounts: int = 100


# A plan that reads the table through would be right for nobody; sessions behind a pooler have not forbidden it.
SESSION = """
select set_config('statement_timeout', '{STATEMENT_MS}', true) as patience,
    set_config('enable_seqscan', 'off', true) as seqscan, set_config('enable_bitmapscan', 'off', true) as bitmapscan
""".replace("{STATEMENT_MS}", str(STATEMENT_MS))

_STATES = """count(*) filter (where available_at <= now()) as due,
    count(*) filter (where available_at > now() and available_at < 'infinity') as waiting,
    count(*) filter (where available_at = 'infinity') as held"""


def _filled(text: str, **parts: str) -> str:
    for name, part in (parts | {"states": _STATES}).items():
        text = text.replace(f"{{{name}}}", part)
    return text


# The largest accounts by name, the others together: an account each may be as many as there are messages.
_LARGEST = """select case when place <= cast(:accounts as integer) then account end as account,
    cast(sum(due) as bigint) as due, cast(sum(waiting) as bigint) as waiting, cast(sum(held) as bigint) as held{more}
from (select *, row_number() over (order by due + waiting + held desc, account) as place from counted) as ranked
group by 1
"""

FEW = _filled(
    """
with counted as (
    select account, {states}
    from (select account, available_at from {schema}.outbox
          where status = 'pending' and ordering_key is null
          order by account, available_at limit cast(:most as bigint) + 1) as pending
    group by account)
{largest}""",
    largest=_LARGEST.replace("{more}", ""),
)

# The first row of each key is its head: the others wait behind it.
FEW_KEYED = _filled(
    """
with counted as (
    select account, {states}, count(*) filter (where turn = 1 and available_at > now()) as blocked,
        min(greatest(available_at, created_at)) filter (where available_at <= now()) as since
    from (select account, available_at, created_at,
              row_number() over (partition by account, ordering_key order by id) as turn
          from (select id, account, ordering_key, available_at, created_at from {schema}.outbox
                where status = 'pending' and ordering_key is not null
                order by account, ordering_key, id limit cast(:most as bigint) + 1) as first
         ) as pending
    group by account)
{largest}""",
    largest=_LARGEST.replace(
        "{more}",
        ", cast(sum(blocked) as bigint) as blocked,\n    extract(epoch from now() - min(since)) as seconds",
    ),
)

# Of an account the first message in order is the oldest, but for those that were due before they were inserted.
_OLDEST = """
select max(extract(epoch from now() - oldest.since)) as seconds
from {asked} cross join lateral (
    select min(greatest(available_at, created_at)) as since
    from (select available_at, created_at from {schema}.outbox
          where status = 'pending' and ordering_key is null and account = asked.account and available_at <= now()
          order by available_at limit 10) as first) as oldest
"""
OLDEST_OF = _filled(_OLDEST, asked="unnest(cast(:accounts as text[])) as asked (account)")
OLDEST = _filled(
    _OLDEST,
    asked="""(
    select account
    from (select account, available_at from {schema}.outbox
          where status = 'pending' and ordering_key is null
          order by account, available_at limit cast(:most as bigint)) as pending
    where available_at <= now() group by account
    order by min(available_at) limit cast(:accounts as integer)) as asked""",
)

# From the first entry of one account to the first of the next one; each has the same share of what is counted.
_STEPS = """
with recursive step as (
    (select account, 1 as n from {schema}.outbox where {half} order by account limit 1)
    union all
    select (select account from {schema}.outbox where {half} and account > step.account order by account limit 1), n + 1
    from step where step.account is not null and n < cast(:accounts as integer)),
asked as materialized (
    select account from step where account is not null
    union select account from unnest(cast(:claimed as text[])) as account),
share as materialized (
    select greatest(1, cast(:most as bigint) / greatest(1, count(*))) as rows from asked)
"""

_RANGE = """(select count(*) from (
        select from {schema}.outbox
        where status = 'pending' and ordering_key is null and account = asked.account and {range}
        limit (select rows from share)) as counted)"""

MANY = _filled(
    "{steps}select asked.account, {due} as due, {waiting} as waiting, {held} as held from asked",
    steps=_STEPS,
    due=_RANGE.replace("{range}", "available_at <= now()"),
    waiting=_RANGE.replace("{range}", "available_at > now() and available_at < 'infinity'"),
    held=_RANGE.replace("{range}", "available_at = 'infinity'"),
    half="status = 'pending' and ordering_key is null",
)

MANY_KEYED = _filled(
    """{steps}
select asked.account, counted.* from asked cross join lateral (
    select {states}, extract(epoch from now() - min(greatest(available_at, created_at))
        filter (where available_at <= now())) as seconds
    from (select available_at, created_at from {schema}.outbox
          where status = 'pending' and ordering_key is not null and account = asked.account
          order by ordering_key, id limit (select rows from share)) as some_of_them) as counted
""",
    steps=_STEPS,
    half="status = 'pending' and ordering_key is not null",
)

BLOCKED = """
with recursive head as (
    (select account, ordering_key, available_at from {schema}.outbox
     where status = 'pending' and ordering_key is not null order by account, ordering_key, id limit 1)
    union all
    select next.* from head cross join lateral (
        select account, ordering_key, available_at from {schema}.outbox
        where status = 'pending' and ordering_key is not null
          and (account, ordering_key) > (head.account, head.ordering_key)
        order by account, ordering_key, id limit 1) as next)
select count(*) filter (where available_at > now()) as blocked
from (select available_at from head limit cast(:most as bigint)) as first
"""

OPEN_CALLS = """
select count(*) as calls, count(*) filter (where lease_until < now()) as lapsed,
    coalesce(sum(cardinality(message_ids)), 0) as messages
from (select lease_until, message_ids from {schema}.call
      where settled_at is null and id >= cast(:open_from as bigint) order by id limit 5000) as open
"""

# A closed list, of what the relay itself writes; a person's reason is a person's.
PAUSES = _filled(
    """
select scope, reason, count(*) as pauses
from (select split_part(scope, ':', 1) as scope, case
          when error_code = '{no_credentials}' then 'no_credentials'
          when starts_with(reason, '{refused}') then 'credentials'
          when starts_with(reason, '{throttled}') then 'throttled'
          when starts_with(reason, '{unreadable}') then 'requests'
          when error_code is null then 'person' else 'other' end as reason
      from {schema}.pause p where until is null or until > now() order by p.scope limit 10000) as pause
group by 1, 2
""",
    no_credentials=NO_CREDENTIALS,
    refused=CREDENTIALS_REFUSED.begins,
    throttled=THROTTLED.begins,
    unreadable=UNREADABLE_REQUESTS.begins,
)

# Ids and ends go together, more or less: the oldest finished message is among the first ids.
ARCHIVE_LAG = """
select extract(epoch from now() - min(finished_at)) as seconds
from (select finished_at from {schema}.outbox
      where status <> 'failed' or ordering_key is null or not cast(:failed_holds as boolean)
      order by id limit 1000) as first
"""

# For people who wait for a run to end: of what is not paused, heads of ordering keys only. Each half has its index.
SOONEST = """
select cast(extract(epoch from min(available_at) - now()) as double precision) as seconds from (
    select account, available_at from {schema}.outbox where status = 'pending' and ordering_key is null
    union all
    select account, available_at from (
        select distinct on (account, ordering_key) account, available_at
        from {schema}.outbox where status = 'pending' and ordering_key is not null
        order by account, ordering_key, id) as head
) as pending
where available_at > now() and available_at < 'infinity' and account <> all (cast(:skip_accounts as text[]))
  and not exists (
    select from {schema}.pause where scope = 'account:' || account and (until is null or until > now()))
"""

_Ask = Callable[..., list[Any]]


class Counting:
    """What one worker's metrics may ask, each in a transaction of its own; any thread may."""

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        memory: Memory,
        bounds: Bounds = Bounds(),
    ) -> None:
        self._transaction = transaction
        self._memory = memory
        self._bounds = bounds

    def backlog(self) -> Backlog:
        """What waits now. Raises UnreachableError where to count it takes too long."""
        claimed = self._memory.roster.newest(self._bounds.accounts)
        with self._transaction() as connection:
            return _backlog(connection, self._bounds, claimed, self._memory.floors.open_from)

    def soonest_seconds(self, skip_accounts: Sequence[str] = ()) -> float | None:
        """In how long the next retry, or message for a later time, is due; None: there is none. Not bounded.

        ``skip_accounts``: those that are left alone for their app key.
        """
        with self._transaction() as connection:
            (row,) = fetch(connection, SOONEST, {"skip_accounts": list(skip_accounts)})
            return None if row.seconds is None else float(row.seconds)

    def finished_seconds(self, *, failed_holds: bool = False) -> float | None:
        """How long ago the oldest message that archiving would move has finished; None where that cannot be seen."""
        with self._transaction() as connection:
            (row,) = _bounded(connection)(ARCHIVE_LAG, failed_holds=failed_holds)
            return None if row.seconds is None else float(row.seconds)


def _backlog(connection: Connection, bounds: Bounds, claimed: Sequence[str], open_from: int) -> Backlog:
    """``claimed``: accounts that are counted in any case; before ``open_from`` no call is open."""
    ask = _bounded(connection)
    stepping = {"claimed": list(claimed), "accounts": bounds.accounts}
    rows = ask(FEW, most=bounds.messages, accounts=bounds.accounts)
    exact = sum(row.due + row.waiting + row.held for row in rows) <= bounds.messages
    if exact:
        (oldest,) = ask(OLDEST, most=bounds.messages, accounts=_OLDEST_ACCOUNTS)
    else:
        rows = ask(MANY, most=bounds.messages, **stepping)
        (oldest,) = ask(OLDEST_OF, accounts=[row.account for row in rows if row.due])
    keyed = ask(FEW_KEYED, most=bounds.keyed, accounts=bounds.accounts)
    exact_keyed = sum(row.due + row.waiting + row.held for row in keyed) <= bounds.keyed
    blocked = sum(row.blocked for row in keyed)
    if not exact_keyed:
        keyed, blocked = ask(MANY_KEYED, most=bounds.keyed, **stepping), ask(BLOCKED, most=bounds.keys)[0].blocked
    (calls,) = ask(OPEN_CALLS, open_from=open_from)
    ages = [oldest.seconds, *(row.seconds for row in keyed)]
    return Backlog(
        accounts=_together(rows, keyed),
        exact=exact and exact_keyed,
        oldest_due_seconds=max((float(age) for age in ages if age is not None), default=0.0),
        blocked_keys=blocked,
        open_calls=calls.calls,
        lapsed_calls=calls.lapsed,
        messages_in_flight=int(calls.messages),
        pauses={(row.scope, row.reason): row.pauses for row in ask(PAUSES)},
    )


def _bounded(connection: Connection) -> _Ask:
    """Asks one statement after another, all within their time."""
    deadline = time.monotonic() + _ALL_SECONDS
    fetch(connection, SESSION, {})

    def ask(text: str, **parameters: Any) -> list[Any]:
        if time.monotonic() > deadline:
            raise UnreachableError(
                "To count what waits takes too long", "relay status counts all of it, and takes its time."
            )
        return fetch(connection, text, parameters)

    return ask


def _together(*halves: Sequence[Any]) -> tuple[AccountBacklog, ...]:
    """Messages with an ordering key and without one, in one line for each account."""
    found: dict[str | None, AccountBacklog] = {}
    for row in (row for half in halves for row in half):
        one = found.get(row.account, AccountBacklog(row.account))
        found[row.account] = AccountBacklog(
            row.account, one.due + row.due, one.waiting + row.waiting, one.held + row.held
        )
    return tuple(found.values())
