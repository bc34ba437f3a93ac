"""Pages of what never ends: the newest first, found by their ids, and nothing is counted.

A view that masks is worked out as a whole before anything in it can be sorted. So the ids of a page are read from the
windows, which follow the indexes of the tables, and then the view is asked for those ids. One more than fits on the
page tells whether there is a next one. A question that no index answers, for a topic nobody has used for long, is
ended after PATIENCE_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import OperationalError, connections, transaction

from relay.integrations.django.places import table

PATIENCE_SECONDS = 5
_INSTEAD = "Ask for an id, a key with its account, a request id, or a state."
LAST_PAGE = 100  # further back the way is a filter: each page costs the ids of all before it
_LARGEST_ID = 2**63 - 1
_KEYED = ("ordering_key is null", "ordering_key is not null")  # each half has the condition of one partial index


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows of a kind are: the window of the table, that of its archive, and what they can be found by."""

    hot: str
    archive: str
    exact: tuple[str, ...]


MESSAGES = Places(
    "read_outbox",
    "read_outbox_archive",
    ("id", "topic", "account", "ordering_key", "dedupe_key", "error_code"),
)
CALLS = Places("read_call", "read_call_archive", ("id", "account", "worker", "request_id"))


def newest_ids(connection: Any, places: Places, wanted: Mapping[str, str], *, first: int, number: int) -> list[int]:
    """The ids of ``number`` rows that fit, the newest first, from the one that stands at ``first``, counted from 0.

    ``wanted``: column → value, and beside the columns ``state`` (pending, held, failed, done, open) and, of messages,
    ``request_id``. An id that is no number is nobody's.
    """
    conditions: list[str] = []
    values: list[Any] = []
    for column in places.exact:
        if column in wanted:
            conditions.append(f"{column} = %s")
            values.append(wanted[column])
    if "id" in wanted and not is_id(wanted["id"]):
        return []
    if "request_id" in wanted and "request_id" not in places.exact:
        conditions.append("id = any (%s)")
        values.append(_named_in(connection, wanted["request_id"]))
    ends: list[str] = []
    parameters: list[Any] = []
    for window, state in _parts(places, wanted.get("state")):
        where = " and ".join([*conditions, *state]) or "true"
        ends.append(f"(select id from {table(window)} where {where} order by id desc limit %s)")  # noqa: S608 ours
        parameters += [*values, first + number]
    query = f"select id from ({' union all '.join(ends)}) as found order by id desc limit %s offset %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(query, [*parameters, number, first])
        return [row[0] for row in cursor.fetchall()]


def _parts(places: Places, state: str | None) -> list[tuple[str, list[str]]]:
    """Windows, each with the conditions that fit its indexes. What is pending or open is in no archive."""
    match state:
        case "pending":
            return [(places.hot, ["status = 'pending'", half]) for half in _KEYED]
        case "held":
            return [(places.hot, ["status = 'pending'", "held", half]) for half in _KEYED]
        case "failed":
            return [(window, ["status = 'failed'"]) for window in (places.hot, places.archive)]
        case "done":
            return [(window, ["status = 'done'"]) for window in (places.hot, places.archive)]
        case "open":
            return [(places.hot, ["settled_at is null"])]
    return [(places.hot, []), (places.archive, [])]


def _named_in(connection: Any, request_id: str) -> list[int]:
    """The messages of the calls that the platform gave this id."""
    windows = [table(CALLS.hot), table(CALLS.archive)]
    ends = (f"select message_ids from {window} where request_id = %s" for window in windows)  # noqa: S608 ours
    with connection.cursor() as cursor:
        cursor.execute(" union all ".join(ends), [request_id, request_id])
        return [id_ for (ids,) in cursor.fetchall() for id_ in ids]


def is_id(value: str) -> bool:
    """Whether a row could have it."""
    return value.isascii() and value.isdigit() and int(value) <= _LARGEST_ID


@contextmanager
def bounded(using: str, setting: str, seconds: int) -> Iterator[None]:
    """A transaction, or a part of one, in which ``setting`` (a time-out) is ``seconds``; afterwards it is as it was."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("select pg_catalog.current_setting(%s)", [setting])
        (before,) = cursor.fetchone()
        cursor.execute("select pg_catalog.set_config(%s, %s, true)", [setting, f"{seconds}s"])
        yield
        cursor.execute("select pg_catalog.set_config(%s, %s, true)", [setting, before])


class NewestFirst(ChangeList):
    """A change list whose admin says by ``found_by_ids`` where the ids are; others are asked in the order they have."""

    page_num: int

    def get_results(self, request: Any) -> None:
        given = {spec.parameter_name: (spec.value() or "").strip() for spec in self.filter_specs}
        wanted = {name: value for name, value in given.items() if value}
        if self.get_filters_params().keys() - given.keys():
            raise IncorrectLookupParameters  # it would be passed over without a word
        size, page = self.list_per_page, min(max(self.page_num, 1), LAST_PAGE)
        try:
            with bounded(self.root_queryset.db, "statement_timeout", PATIENCE_SECONDS):
                found = self._found(wanted, (page - 1) * size, size + 1)
        except OperationalError as error:
            if type(error.__cause__).__name__ != "QueryCanceled":
                raise
            found = []
            messages.error(request, f"Nothing found within {PATIENCE_SECONDS} seconds. {_INSTEAD}")
        known = (page - 1) * size + len(found)
        self.result_list, self.result_count, self.full_result_count = found[:size], known, None
        self.show_full_result_count = self.can_show_all = False
        self.show_admin_actions, self.multi_page = True, known > size
        self.page_num, self.paginator = page, Paginator(range(min(known, LAST_PAGE * size)), size)

    def _found(self, wanted: Mapping[str, str], first: int, number: int) -> list[Any]:
        places: Places | None = self.model_admin.found_by_ids
        rows = self.root_queryset.only(*self.model_admin.columns())
        if places is None:
            return list(rows[first : first + number])
        ids = newest_ids(connections[rows.db], places, wanted, first=first, number=number)
        return sorted(rows.filter(pk__in=ids), key=lambda row: row.pk, reverse=True)


class Exactly(admin.SimpleListFilter):
    """A field to type a value into; what has exactly that value is shown."""

    template = "admin/relay/exactly.html"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.parameter_name, self.title)]  # or it would not be shown

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset  # NewestFirst asks for the value

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        others = changelist.get_filters_params()
        others.pop(self.parameter_name, None)
        yield {
            "name": self.parameter_name,
            "value": self.value() or "",
            "others": [(name, value) for name, values in others.items() for value in values],
        }


def exactly(name: str) -> type[Exactly]:
    """A filter by the exact value of a column."""
    return type(f"Exactly_{name}", (Exactly,), {"parameter_name": name, "title": name.replace("_", " ")})


def state_of(*states: str) -> type[admin.SimpleListFilter]:
    """A filter by one of these states."""

    def lookups(self: Any, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in states]

    def queryset(self: Any, request: Any, queryset: Any) -> Any:
        return queryset

    facts = {"parameter_name": "state", "title": "state", "lookups": lookups, "queryset": queryset}
    return type("State", (admin.SimpleListFilter,), facts)
