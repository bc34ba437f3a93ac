"""Messages behind one of their ordering key that failed: where workers have ``RELAY_ON_FAILED_HEAD=hold``, they wait.

The database does not know what workers are set to. Which failed message holds its key is the rule of the claim: an
earlier one of the same account and key that is in the outbox and was not discarded. It is looked up along the index
``outbox_failed_heads``, and the keys along that of all that wait with a key, from head to head.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from relay.sql import run

MOST_KEYS = 1_000
MOST_DUE = 10_000

_HOLDS = """
    select id, error_code, finished_at from {schema}.read_outbox
    where status = 'failed' and ordering_key is not null and account = <account> and ordering_key = <key>
      and id < <id> and error_code is distinct from 'relay.discarded'
    order by id limit 1"""
_OF_ONE = _HOLDS.replace("<account>", ":account").replace("<key>", ":key").replace("<id>", ":id")
# As ``waiting.py`` says of what is due; an account that is paused by its name waits for that.
_DUE = "not held and (available_at is null or available_at <= (select now()))"
_NEXT = """
    select account, ordering_key, id, <due> as due from {schema}.read_outbox
    where status = 'pending' and ordering_key is not null <beyond>
    order by account, ordering_key, id limit 1"""
_BEYOND = "and (account, ordering_key) > (head.account, head.ordering_key)"
_OF_ALL = (
    """
with recursive head as (
    select one.*, 1 as nth from (<first>) as one
    union all
    select next.*, head.nth + 1 from head cross join lateral (<next>) as next where head.nth < :most_keys
),
blocked as materialized (
    select head.account, head.ordering_key, failed.* from head cross join lateral (<holds>) as failed
    where head.due and head.account not in (select substr(scope, 9) from {schema}.read_pause
        where starts_with(scope, 'account:') and (until is null or until > now()))
),
behind as (
    select from blocked cross join lateral (
        select from {schema}.read_outbox
        where status = 'pending' and ordering_key is not null and account = blocked.account
          and ordering_key = blocked.ordering_key and <due>) as message limit :most_due
)
select id, error_code, finished_at, account, ordering_key, (select count(*) from blocked) as keys,
    (select max(nth) from head) < :most_keys as exact, (select count(*) from behind) as due
from blocked order by finished_at, id limit 1
""".replace("<first>", _NEXT.replace("<beyond>", ""))
    .replace("<next>", _NEXT.replace("<beyond>", _BEYOND))
    .replace(
        "<holds>",
        _HOLDS.replace("<account>", "head.account").replace("<key>", "head.ordering_key").replace("<id>", "head.id"),
    )
    .replace("<due>", _DUE)
)


@dataclass(frozen=True, slots=True)
class FailedHead:
    """The earliest message of an ordering key that failed and was not discarded."""

    id: int
    error_code: str | None
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class FailedHeads:
    """``keys`` have due messages behind a failed one; ``first`` is the one of them that failed first, of that key.

    ``due``: how many messages are due behind them. ``exact`` False: there are more keys than were looked at, or more
    messages than were counted, and the numbers are at least that.
    """

    first: FailedHead
    account: str
    ordering_key: str
    keys: int
    due: int
    exact: bool


def failed_head(connection: Connection, account: str, ordering_key: str, message_id: int) -> FailedHead | None:
    """The one that this message is behind."""
    found = run(connection, _OF_ONE, account=account, key=ordering_key, id=message_id).one_or_none()
    return None if found is None else FailedHead(*found)


def failed_heads(connection: Connection, *, most_keys: int = MOST_KEYS, most_due: int = MOST_DUE) -> FailedHeads | None:
    """Among the first ``most_keys`` keys that wait, in their order; None: none of them is behind a failed message."""
    found = run(connection, _OF_ALL, most_keys=most_keys, most_due=most_due).one_or_none()
    if found is None:
        return None
    first = FailedHead(found.id, found.error_code, found.finished_at)
    exact = found.exact and found.due < most_due
    return FailedHeads(first, found.account, found.ordering_key, found.keys, found.due, exact)
