"""Which rows are in an export, and how they are read: through the audit views alone, from one snapshot, in order.

Each view has a time that never changes once a row shows it, so consecutive periods tile: a row is in the files of one
period only. Messages count by their insert; calls, and what they meant for each message, by when they were settled, so
that a delivery and its call are always in the same export. A pause counts by its end; those without one are all there.

A message bears the time at which its transaction began, an act its own, but both may be committed later. Whatever was
not yet committed when the preceding export looked would be in neither; its transaction id tells, and it is taken in
here as late.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from relay.errors import RelayError, SchemaError
from relay.exports.lines import TIME, Cells, Column, Format
from relay.exports.manifest import Preceding
from relay.revisions import HEAD, require_head_if_readable
from relay.sql import quoted, schema_of

Moment = date | datetime | timedelta

# A row may have more than 100,000 characters; masking one costs far more than fetching it.
FETCHED_ROWS = 100
# Ids that the server sorts at a time, instead of millions with their masked contents.
SLICE_IDS = 10_000

# Days are those of audit_daily.
_ZONE = "coalesce(nullif(current_setting('relay.zone', true), ''), 'Asia/Shanghai')"
_ISO = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

_SESSION = "select set_config('TimeZone', 'UTC', true), set_config('client_encoding', 'UTF8', true)"
_SNAPSHOT = """
select now() as at, cast(pg_current_snapshot() as text) as name, current_database() as database,
    cast(session_user as text) as db_user
"""
_MIDNIGHT = f"select cast(cast(:moment as date) as timestamp) at time zone {_ZONE}"
_AGO = "select now() - cast(:moment as interval)"
_COLUMNS = """
select attname, format_type(atttypid, null) from pg_attribute
where attrelid = to_regclass(:view) and attnum > 0 and not attisdropped order by attnum
"""
_LATE = """
select id from {view}
where (cast(:since as timestamptz) is null or {time} >= :since) and {time} < :until
  and not pg_visible_in_snapshot(created_xid, cast(:snapshot as pg_snapshot))
order by id
"""


@dataclass(frozen=True, slots=True)
class View:
    """``time`` decides about the period; ``open_too``: rows that have none yet are in every one. The order is one
    without ties. ``late``: by its transaction a row is found that the preceding export could not see.
    """

    name: str
    order: tuple[str, ...]
    time: str
    open_too: bool = False
    late: bool = False

    @property
    def has_id(self) -> bool:
        """Whether its rows are told apart by one id."""
        return self.order == ("id",)


VIEWS = (
    View("audit_message", ("id",), "created_at", late=True),
    View("audit_delivery", ("call_id", "result_index"), "at"),
    View("audit_call", ("id",), "settled_at"),
    View("audit_possible_duplicate", ("message_id",), "first_unknown_at"),
    View("audit_pause", ("scope", "since", "ended_at"), "ended_at", open_too=True),
    View("audit_action", ("id",), "at", late=True),
)


@dataclass(frozen=True, slots=True)
class Period:
    """``since`` belongs to it, ``until`` does not; None is no limit."""

    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``at`` is the database's clock, ``revision`` None where the login may not read it."""

    at: datetime
    name: str
    database: str
    db_user: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows of a view: a condition and its parameters. ``late``: how many of them are from before the period."""

    condition: str
    parameters: dict[str, Any]
    late: int = 0


class SnapshotViews:
    """The views of one schema in one snapshot, taken when this is made; its transaction must not have begun before.

    Raises SchemaError as far as the login may know that the tables are of another revision.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.schema = schema_of(connection)
        connection.execute(text(_SESSION))
        at, name, database, db_user = connection.execute(text(_SNAPSHOT)).one()
        self.snapshot = Snapshot(at, name, database, db_user, self._revision())

    def period(self, since: Moment | None, until: Moment | None, preceding: Preceding | None) -> Period:
        """From when on, and up to when; a date is its midnight in the zone of audit_daily. Raises RelayError."""
        begin, end = self._instant(since), self._instant(until)
        if preceding is not None:
            self.require_same(preceding)
            begin = _continued(begin, preceding)
        now = self.snapshot.at
        if end is not None and end > now:
            raise RelayError(f"The period ends at {end}, which is in the future.", "Export it when it is over.")
        if begin is not None and begin >= (end or now):
            raise RelayError(
                f"The period is empty: it begins at {begin} and ends at {end or now}.",
                "Give a --since that is before --until.",
            )
        return Period(begin, end)

    def choice(self, view: View, period: Period, preceding: Preceding | None) -> Choice:
        """The rows of the period, and messages that came too late for the preceding one."""
        condition, parameters = _within(view, period), {"since": period.since, "until": period.until}
        used = {name: value for name, value in parameters.items() if f":{name}" in condition}
        late = self._late(view, period, preceding) if preceding and view.late else ()
        if not late:
            return Choice(condition, used)
        return Choice(f"({condition} or id = any(cast(:late as bigint[])))", {**used, "late": late}, len(late))

    def columns(self, view: View) -> list[Column]:
        """In the view's order. Raises SchemaError where there is no such view."""
        found = self._connection.execute(text(_COLUMNS), {"view": self._named(view.name)})
        if columns := [Column(*row) for row in found]:
            return columns
        raise SchemaError(f'The database has no view {view.name} in schema "{self.schema}".', "Run: relay migrate")

    def rows(
        self, view: View, choice: Choice, columns: Sequence[Column], form: Format
    ) -> Iterator[tuple[int | None, Cells]]:
        """The id, if a row has one, and the texts that the format makes a line of; few rows at a time, in order."""
        source = self._named(view.name)
        names = [quoted(column.name) for column in columns]
        shaped = ", ".join(
            f"to_char({name} at time zone 'UTC', :iso) as {name}" if column.type == TIME else name
            for name, column in zip(names, columns, strict=True)
        )
        order = ", ".join(f"r.{name}" for name in view.order)
        for condition, limits in self._slices(view, choice):
            statement = (
                f"select {'r.id' if view.has_id else 'null'}, {form.select(names)} "  # noqa: S608 names are quoted
                f"from (select {shaped} from {source} where {condition}) as r order by {order}"
            )
            parameters = {**choice.parameters, **limits, "iso": _ISO}
            streamed = {"yield_per": FETCHED_ROWS}
            for id_, *values in self._connection.execute(text(statement), parameters, execution_options=streamed):
                yield id_, values

    def _slices(self, view: View, choice: Choice) -> Iterator[tuple[str, dict[str, int]]]:
        if not view.has_id:
            yield choice.condition, {}
            return
        ends = f"select min(id), max(id) from {self._named(view.name)} where {choice.condition}"  # noqa: S608 quoted
        first, last = self._connection.execute(text(ends), choice.parameters).one()
        if first is not None:
            for start in range(first, last + 1, SLICE_IDS):
                limits = {"first_id": start, "last_id": start + SLICE_IDS - 1}
                yield f"id between :first_id and :last_id and {choice.condition}", limits

    def _late(self, view: View, period: Period, preceding: Preceding) -> Sequence[int]:
        parameters = {"since": preceding.since, "until": period.since, "snapshot": preceding.snapshot}
        statement = _LATE.format(view=self._named(view.name), time=view.time)
        return self._connection.scalars(text(statement), parameters).all()

    def require_same(self, preceding: Preceding) -> None:
        """Periods and transaction ids of another database mean nothing here."""
        here = (self.snapshot.database, self.schema)
        there = (preceding.database, preceding.schema)
        if here != there:
            raise RelayError(
                f"The preceding export is of {'.'.join(there)}, this one would be of {'.'.join(here)}.",
                "Name the last one of this database and schema.",
            )

    def _instant(self, moment: Moment | None) -> datetime | None:
        if moment is None or isinstance(moment, datetime):
            return moment
        statement = _AGO if isinstance(moment, timedelta) else _MIDNIGHT
        found: datetime = self._connection.execute(text(statement), {"moment": moment}).scalar_one()
        return found

    def _revision(self) -> str | None:
        return HEAD if require_head_if_readable(self._connection, self.schema) else None

    def _named(self, name: str) -> str:
        return f"{quoted(self.schema)}.{name}"


def _continued(begin: datetime | None, preceding: Preceding) -> datetime:
    """Where a period begins that follows another one without a gap."""
    begin = begin or preceding.until
    if begin is None:
        raise RelayError("The preceding export has no end.", "Say where this one begins: --since")
    if preceding.until not in (None, begin):
        raise RelayError(
            f"The preceding export ends at {preceding.until}, this one would begin at {begin}.",
            "Leave --since out: then it begins where the preceding one ends.",
        )
    return begin


def _within(view: View, period: Period) -> str:
    """Without an end, rows that have no time yet belong to it: calls that are still open."""
    conditions = []
    if period.since:
        conditions.append(f"{view.time} >= :since")
    if period.until:
        conditions.append(f"{view.time} < :until")
    within = " and ".join(conditions)
    if within and (view.open_too or not period.until):
        return f"({within} or {view.time} is null)"
    return within or "true"
