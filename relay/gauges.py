"""What waits in the database, as the metrics show it: values, and what is known of their age.

All of it is bounded, however much waits: where there is more than is counted, numbers are lower bounds, and ``exact``
says so. Names of accounts are as the tables have them; whoever shows them cleans them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class AccountBacklog(NamedTuple):
    """Pending messages of one account: due now, waiting for a later time, held for a person. None: of all others."""

    account: str | None
    due: int = 0
    waiting: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """``exact`` False: counts of messages and keys are at least that, and so is ``oldest_due_seconds``.

    ``oldest_due_seconds`` counts from the time the message was allowed to go, 0 where none is due. ``pauses``: those in
    force, by (``account`` or ``app``, why). ``archive_lag_seconds``: by how much the oldest finished message in the
    outbox is older than it should be; None where that is not known.
    """

    accounts: tuple[AccountBacklog, ...] = ()
    exact: bool = True
    oldest_due_seconds: float = 0.0
    blocked_keys: int = 0
    open_calls: int = 0
    lapsed_calls: int = 0
    messages_in_flight: int = 0
    pauses: Mapping[tuple[str, str], int] = field(default_factory=dict)
    archive_lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Gauged:
    """What a scrape shows. ``backlog`` None: there is nothing to show. ``up``: whether the last question was answered.

    ``age_seconds``: how long ago the database said so.
    """

    up: bool
    backlog: Backlog | None = None
    age_seconds: float = 0.0
