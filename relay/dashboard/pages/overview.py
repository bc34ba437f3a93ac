"""``/``: is anything stuck, since when, why, what to press; and the numbers, each of which leads to its list."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from relay import reports
from relay.dashboard.concerns import FAR_SECONDS, LAPSED_SECONDS, OLD_SECONDS, Situation, concerns
from relay.dashboard.visit import Page, PageVisit

MOST_LISTED, MOST_SHOWN = 1_000, 50  # of pauses and of workers: read, and shown
KEPT_SECONDS, SERIES_SECONDS = 2.0, 20.0
PIECES = {"hour": (reports.HOUR, 30), "day": (reports.DAY, 48)}
SQL = """
select * from {schema}.audit_backlog;
select error_code, count(*) from {schema}.read_outbox where status = 'failed' group by 1 order by 2 desc;
select scope, until, reason, since, by from {schema}.audit_pause where in_force;
select worker, count(*) as calls, min(lease_until) from {schema}.read_call where settled_at is null group by 1;
"""


def overview(visit: PageVisit) -> Page:
    """Read at most once in KEPT_SECONDS, however many look on; pictures once in SERIES_SECONDS."""
    known: Situation = visit.ask_once("known", KEPT_SECONDS, situation)
    span = visit.choice("span", tuple(PIECES)) or "hour"
    values = {
        "known": known,
        "status": known.status,
        "concerns": concerns(known),
        "failed_hour": sum(code.hour for code in known.failures),
        "failed_all": sum(code.messages for code in known.status.failed),
        "pauses": reports.foremost(known.status.pauses, 10),
        "workers": known.status.workers[:MOST_SHOWN],
        "hour": visit.ask_once("hour", SERIES_SECONDS, reports.throughput, reports.HOUR),
        "day": visit.ask_once("day", SERIES_SECONDS, reports.throughput, reports.DAY),
        "span_chosen": span,
        "series": visit.ask_once(f"series {span}", SERIES_SECONDS, _series, *PIECES[span]),
        "ages": visit.ask_once("ages", KEPT_SECONDS, reports.ages),
        "age_names": reports.AGES,
        "outcomes": reports.OUTCOMES,
    }
    document = {
        "at": known.now,
        **{name: getattr(known, name) for name in ("status", "open_calls", "blocked", "failures", "put_off")},
        "concerns": values["concerns"],
        "last_hour": values["hour"],
        "last_day": values["day"],
        "series": values["series"],
        "ages": [
            {"below": name or None, "messages": count} for name, count in zip(reports.AGES, values["ages"], strict=True)
        ],
    }
    return Page("overview.html", values, ["relay status", "relay check"], visit.sql(SQL), document)


def situation(connection: Any) -> Situation:
    """What the reports find at this moment."""
    return Situation(
        reports.now(connection),
        reports.status(connection, most=MOST_LISTED),
        reports.open_calls(connection, LAPSED_SECONDS),
        reports.blocked_counts(connection, OLD_SECONDS),
        reports.failures(connection),
        reports.put_off(connection, FAR_SECONDS),
    )


def _series(connection: Any, span: timedelta, pieces: int) -> Any:
    return reports.series(connection, reports.last(reports.now(connection), span, pieces))
