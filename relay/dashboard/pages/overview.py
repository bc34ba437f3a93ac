"""``/``: is anything stuck, since when, why, what to press; and the numbers, each of which leads to its list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay import reports
from relay.dashboard.concerns import FAR_SECONDS, LAPSED_SECONDS, OLD_SECONDS, Situation, concerns, is_old
from relay.dashboard.refreshing import PAGE_ONE
from relay.dashboard.visit import Page, PageVisit

MOST_LISTED, MOST_SHOWN = 1_000, 50  # of pauses and of workers: read, and shown
OF_NOW = "known"  # what this page keeps of what people change
KEPT_SECONDS, SERIES_SECONDS = 1.0, 20.0
PIECES = {"hour": (reports.HOUR, 30), "day": (reports.DAY, 48)}
SQL = """
select * from {schema}.audit_backlog;
select error_code, count(*) from {schema}.read_outbox where status = 'failed' group by 1 order by 2 desc;
select scope, until, reason, since, by from {schema}.audit_pause where in_force;
select worker, count(*) as calls, min(lease_until) from {schema}.read_call where settled_at is null group by 1;
"""


@dataclass(frozen=True, slots=True)
class Through:
    """What got through of late."""

    hour: reports.Throughput
    day: reports.Throughput
    series: tuple[reports.CallStretch, ...]


def overview(visit: PageVisit) -> Page:
    """Read at most once in KEPT_SECONDS, however many look on; what got through once in SERIES_SECONDS."""
    known: Situation = visit.ask_once(OF_NOW, KEPT_SECONDS, situation)
    span = visit.choice("span", tuple(PIECES)) or "hour"
    through: Through = visit.ask_seldom(f"through {span}", SERIES_SECONDS, _through, *PIECES[span])
    values = {
        "known": known,
        "status": known.status,
        "concerns": concerns(known),
        "failed_all": known.status.failed_messages,
        "pauses": reports.foremost(known.status.pauses, 10),
        "workers": known.status.workers[:MOST_SHOWN],
        "hour": through.hour,
        "day": through.day,
        "span_chosen": span,
        "series": through.series,
        "ages": known.ages,
        "age_names": reports.AGES,
        "outcomes": reports.OUTCOMES,
    }
    document = {
        "at": known.now,
        **{name: getattr(known, name) for name in ("status", "open_calls", "blocked", "failures", "put_off")},
        "concerns": values["concerns"],
        "last_hour": through.hour,
        "last_day": through.day,
        "series": through.series,
        "ages": [
            {"below": name or None, "messages": count} for name, count in zip(reports.AGES, known.ages, strict=True)
        ],
    }
    sql = visit.sql(SQL)
    return Page("overview.html", values, ["relay status", "relay check"], sql, document, every=PAGE_ONE, at=known.now)


def situation(connection: Any) -> Situation:
    """What the reports find at this moment; of much that waits or failed a part is counted."""
    waiting = reports.waiting(connection, old_seconds=OLD_SECONDS)
    failed = reports.failed_codes(connection, lately=reports.MOST_LISTED_CODES)
    status = reports.status(connection, most=MOST_LISTED, backlog=waiting, failed=failed)
    return Situation(
        reports.now(connection),
        status,
        reports.open_calls(connection, LAPSED_SECONDS),
        waiting.blocked,
        reports.failures(connection, failed),
        reports.put_off(connection, FAR_SECONDS),
        waiting.ages,
        reports.failed_heads(connection) if is_old(status) else None,
    )


def _through(connection: Any, span: timedelta, pieces: int) -> Through:
    return Through(
        reports.throughput(connection, reports.HOUR),
        reports.throughput(connection, reports.DAY),
        reports.series(connection, reports.last(reports.now(connection), span, pieces)),
    )
