"""The read models of the pages, as a login that may only look on: what they find, where they end, both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from relay import reports
from relay.assembly.database import opened
from relay.reports import NEWEST, Cursor, Search, Stretch
from relay.settings import load
from tests.fixtures.dashboard import MARKUP, Seeded

Numbers = Callable[[Stretch[Any]], list[int]]


@pytest.fixture(scope="module")
def connection(seeded: Seeded) -> Iterator[Connection]:
    with opened(load(database_url=seeded.url)) as database, database.reading() as connection:
        yield connection


@pytest.fixture
def numbers(seeded: Seeded) -> Numbers:
    """The messages of a stretch by their numbers; 17 is the archived one."""
    known = {id_: number for number, id_ in seeded.ids.items()}
    return lambda found: [known.get(line.id, 17) for line in found.lines]


def ids(found: Stretch[Any]) -> list[int]:
    return [line.id for line in found.lines]


FOUND = {
    "everything": (Search(), [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    "done": (Search("done"), [9, 2, 1]),
    "failed": (Search("failed"), [10, 7]),
    "failed with a code": (Search("failed", error_code="isv.invalid-parameter:content", account="default"), [7]),
    "pending": (Search("pending", account="default"), [8, 6, 5, 4, 3]),
    "due": (Search("due", account="default"), [8, 5]),
    "waiting": (Search("waiting"), [4, 3]),
    "held": (Search("held"), [6]),
    "a key, archived too": (Search(ordering_key="key-1"), [17, 5, 4]),
    "a key, pending": (Search("pending", ordering_key="key-1"), [5, 4]),
    "a topic": (Search(topic=MARKUP), [7]),
    "a code of what waits": (Search("pending", error_code="isp.remote-error"), [3]),
    "nothing": (Search(topic="no such topic"), []),
}


@pytest.mark.parametrize("name", FOUND)
def test_messages_are_found(connection: Connection, numbers: Numbers, name: str) -> None:
    wanted, expected = FOUND[name]
    found = reports.find(connection, wanted)
    assert numbers(found) == expected
    assert (found.older, found.newer, found.looked_to) == (None, None, None)


@pytest.mark.parametrize("few", [0, 3])
@pytest.mark.parametrize("name", FOUND)
def test_where_many_wait_or_failed_the_same_messages_are_found(
    connection: Connection, numbers: Numbers, name: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.reports.search.FEW", few)
    wanted, expected = FOUND[name]
    assert numbers(reports.find(connection, wanted)) == expected


def test_what_is_further_on_in_the_outbox_is_not_passed_over_for_what_is_archived(
    connection: Connection, numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this key an archived message is found at once, others only where the next few messages are looked at."""
    monkeypatch.setattr("relay.reports.search.MOST_LOOKED", 2)
    seen, cursor = list[int](), Cursor((0,), newer=True)
    while True:
        found = reports.find(connection, Search(ordering_key="key-1"), cursor, limit=1)
        seen = numbers(found) + seen
        if found.newer is None:
            break
        cursor = Cursor(found.newer, newer=True)
    assert seen == FOUND["a key, archived too"][1]


def test_of_much_that_waits_a_part_is_counted_and_that_is_told(connection: Connection) -> None:
    exact, part = (reports.waiting(connection, most=most, old_seconds=300) for most in (None, 1))
    assert (exact.exact, part.exact) == (True, False)
    assert exact.pending == exact.due + exact.waiting + exact.held
    assert part.pending == 2 < exact.pending
    assert sum(exact.ages) == exact.due
    assert reports.status(connection, backlog=part).exact is False


@pytest.mark.parametrize("name", ["everything", "failed", "pending", "a key, archived too"])
def test_stretches_lead_down_and_up_again(connection: Connection, numbers: Numbers, name: str) -> None:
    wanted, expected = FOUND[name]
    seen, cursor = list[int](), NEWEST
    while True:
        found = reports.find(connection, wanted, cursor, limit=2)
        seen += numbers(found)
        if found.older is None:
            break
        cursor = Cursor(found.older)
    assert seen == expected
    last, back = found, numbers(found)
    while last.newer is not None:
        last = reports.find(connection, wanted, Cursor(last.newer, newer=True), limit=2)
        back = numbers(last) + back
    assert back == expected
    assert (last.older is not None) == (len(expected) > 2)


def test_a_time_of_the_insert_is_turned_into_ids(connection: Connection, numbers: Numbers) -> None:
    moment = reports.now(connection)
    hour = timedelta(hours=1)
    assert len(ids(reports.find(connection, Search(since=moment - hour, until=moment)))) == 16
    assert ids(reports.find(connection, Search(until=moment - hour))) == []
    assert numbers(reports.find(connection, Search("failed", since=moment - hour))) == [10, 7]


def test_where_no_index_leads_it_says_how_far_it_looked(
    connection: Connection, numbers: Numbers, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.reports.search.MOST_LOOKED", 5)
    wanted = Search(account="default")
    found = reports.find(connection, wanted)
    assert (ids(found), found.looked_to, found.older) == ([], (seeded.ids[12],), (seeded.ids[12],))
    found = reports.find(connection, wanted, Cursor(found.older))
    assert (numbers(found), found.looked_to) == ([8, 7], (seeded.ids[7],))
    up = reports.find(connection, wanted, Cursor((0,), newer=True))
    assert (numbers(up), up.looked_to) == ([5, 4, 3, 2, 1], (seeded.ids[5],))


def test_a_dedupe_key_is_found_in_the_outbox_and_after_it(connection: Connection, seeded: Seeded) -> None:
    assert reports.of_dedupe_key(connection, "default", "dedupe-3") == (seeded.ids[3],)
    assert reports.of_dedupe_key(connection, "default", "dedupe-old") != ()
    assert reports.of_dedupe_key(connection, "shop-2", "dedupe-3") == ()


def test_a_call_says_what_came_back_for_each_position(connection: Connection) -> None:
    came = {n: [one.came for one in found.positions] for n in range(1, 7) if (found := reports.one_call(connection, n))}
    assert came == {
        1: ["done", "done", "retry", "failed"], 2: ["unknown"], 3: ["split", "split"], 4: ["open"], 5: ["done"],
        6: ["failed"],
    }  # fmt: skip
    split = reports.one_call(connection, 3)
    assert split is not None
    assert split.halves == (5, 6)
    assert reports.one_call(connection, 99) is None


def test_calls_are_listed_and_found_by_the_platforms_word(connection: Connection) -> None:
    assert ids(reports.calls(connection)) == [6, 5, 4, 3, 2, 1]
    assert ids(reports.calls(connection, only_open=True)) == [4]
    assert ids(reports.calls(connection, Cursor((3,), newer=True), limit=2)) == [5, 4]
    assert [line.id for line in reports.calls_of_request(connection, "req-1")] == [1]


def test_the_rest_of_the_pages_has_its_lines(connection: Connection, seeded: Seeded) -> None:
    (failed,) = reports.failures(connection)
    assert (failed.error_code, failed.hour, failed.week, failed.bounded) == (
        "isv.invalid-parameter:content",
        2,
        2,
        False,
    )
    assert reports.failures(connection, most=1)[0].bounded
    (unclear,) = reports.duplicates(connection).lines
    assert (unclear.message_id, unclear.call_id, unclear.came) == (seeded.ids[6], 2, "held")
    (key,) = reports.blocked_keys(connection).lines
    assert (key.account, key.ordering_key, key.head_id, key.messages) == ("default", "key-1", seeded.ids[4], 2)
    waiting = reports.waiting(connection, old_seconds=300)
    assert waiting.blocked == reports.BlockedKeys(1, 0, key.created_at)
    assert (waiting.exact, reports.waiting(connection).blocked.blocked) == (True, 0)
    assert [pause.scope for pause in reports.pauses_in_force(connection).lines] == ["account:shop-2", "app:123"]
    (past,) = reports.past_pauses(connection).lines
    assert (past.scope, past.ended) == ("account:gone", "lifted")
    newest = reports.ledger(connection).lines[0]
    assert newest.action == "archive"
    (retried,) = reports.ledger_of_message(connection, seeded.ids[7])
    assert (retried.action, retried.actor, retried.first_ids, retried.count) == ("retry", "ann", (seeded.ids[7],), 1)
    calls = reports.open_calls(connection, 10)
    assert (calls.flying, calls.lapsed, calls.unsound) == (0, 1, None)
    assert waiting.ages[0] >= 2
    content = reports.masked_content(connection, seeded.ids[1])
    assert content is not None
    assert '"138****5678"' in content.content


def test_series_count_the_messages_of_calls(connection: Connection) -> None:
    edges = reports.last(reports.now(connection), timedelta(hours=1), 4)
    found = reports.series(connection, edges)
    assert [one.calls for one in found] == [0, 0, 0, 6]
    assert found[-1].messages == {"ok": 1, "partial": 4, "rejected": 3, "unknown": 1, "released": 0}
    assert (found[-1].half_ms, found[-1].most_ms, found[-1].estimated) == (75, 15000, False)
    assert reports.series(connection, edges, most=2)[-1].estimated
