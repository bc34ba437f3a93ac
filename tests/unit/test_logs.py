"""One log line per event, with a stable key, and nothing in it that an event does not carry."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import random
import re
import typing
from typing import Any

import pytest

from relay import events
from relay.message import Answered, Batch, Fault, Message, Refused, Result
from relay.observers.logs import LogLines, level_of, silence_libraries
from relay.outcomes import Policy, decide
from relay.showing import width
from relay.worker.flights import Finished
from relay.worker.settling import call_settled

SETTLED = events.CallSettled(
    call_id=7,
    account="shop",
    outcome="ok",
    messages=2,
    done=2,
    retry=0,
    failed=0,
    unknown=0,
    split=0,
    http_status=200,
    request_id="r1",
    error_code=None,
    sub_code=None,
    error_message=None,
    request_bytes=100,
    duration_ms=31,
    producer="tmc",
)
# Every event there is, one that the log must show at which level.
EVERY: list[tuple[events.Event, str]] = [
    (events.WorkerStarted("w", "tmc", 8), "info"),
    (events.WorkerStarted("w", "tmc", 8, "0.1", "h:1/d", "18.1", "relay", "https://h/r", "*:9464"), "info"),
    (events.Warned("port 9464 is taken"), "warning"),
    (events.PollingOnly("a pooler is in between"), "warning"),
    (events.Claimed(1, 2, 0, 0.01), "debug"),
    (SETTLED, "info"),
    (dataclasses.replace(SETTLED, outcome="released"), "info"),
    (dataclasses.replace(SETTLED, outcome="partial"), "warning"),
    (dataclasses.replace(SETTLED, outcome="rejected"), "warning"),
    (dataclasses.replace(SETTLED, outcome="unknown"), "warning"),
    (events.CallLost(7), "warning"),
    (events.LeasesRecovered(1, 2), "warning"),
    (events.LocksTaken("process 7, role x"), "warning"),
    (events.LocksSeen(sessions=1, prepared=0), "info"),
    (events.Paused("account:a", 1.0, "throttled", "7"), "warning"),
    (events.Paused("account:a", None, "credentials", "27"), "error"),
    (events.PauseLifted("account:a"), "info"),
    (events.AccountsTroubled("RELAY_ACCOUNTS_DIR cannot be read"), "error"),
    (events.AccountsMended(), "info"),
    (events.DatabaseLost("settle", "PostgreSQL was lost."), "warning"),
    (events.CallRefused(7, "shop", 2, "DataError (22003)", 0.1), "error"),
    (events.MessageUnreadable(9, "A text in the database is not UTF-8."), "error"),
    (events.DatabaseRefused("claim", "DataError (22003)"), "error"),
    (events.ProducerFailed(7, "raised ValueError"), "error"),
    (events.ProducerRaised(7, "raised ValueError", ("a.py:3 in produce", "b.py:9 in read")), "debug"),
    (events.Archived(1000, 3, 20), "info"),
    (events.ArchivingFailed("permission denied"), "error"),
    (events.WorkerStopping(2, 25.0), "info"),
    (events.WorkerStopped(3, 100, 1), "info"),
]


def lines_of(*told: events.Event, level: str = "debug") -> list[dict[str, Any]]:
    stream = io.StringIO()
    log = LogLines(worker="w", level=level, style="json", stream=stream)
    for event in told:
        log(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_list_above_is_the_closed_list() -> None:
    assert {type(event) for event, _ in EVERY} == set(typing.get_args(events.Event))


@pytest.mark.parametrize(("event", "level"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_each_event_is_one_line_with_its_key_and_fields(event: events.Event, level: str) -> None:
    (line,) = lines_of(event)
    assert (line.pop("event"), line.pop("level"), line.pop("worker")) == (event.name, level, "w")
    assert line.pop("timestamp").endswith("Z")
    told = {name: value for name, value in dataclasses.asdict(event).items() if value is not None and name != "worker"}
    assert line == json.loads(json.dumps(told))


def test_a_level_leaves_out_what_is_below_it() -> None:
    told = [event for event, _ in EVERY]
    assert [line["event"] for line in lines_of(*told, level="error")] == [
        "paused",
        "accounts.troubled",
        "call.refused",
        "message.unreadable",
        "database.refused",
        "producer.failed",
        "archiving.failed",
    ]
    assert "claim" not in [line["event"] for line in lines_of(*told, level="info")]


def test_a_line_stays_one_line_whatever_the_platform_says() -> None:
    mad = dataclasses.replace(SETTLED, error_message='a\nb\u2028c\0d "quoted" 退款')
    stream = io.StringIO()
    LogLines(worker="w", style="json", stream=stream)(mad)
    assert stream.getvalue().count("\n") == 1
    told = json.loads(stream.getvalue())["error_message"]
    assert told == mad.error_message
    assert r'"a\nb\u2028c\u0000d \"quoted\" 退款"' in stream.getvalue(), "signs that a terminal obeys are not written"
    stream = io.StringIO()
    LogLines(worker="w", style="console", stream=stream)(mad)
    assert stream.getvalue().count("\n") == 1
    assert r"a\u000ab\u2028c\u0000d" in stream.getvalue()


def test_what_others_say_in_words_is_masked() -> None:
    said, shown = "buyer 13812345678 has no right", "buyer 138****5678 has no right"
    settled = dataclasses.replace(SETTLED, error_message=said, request_id="13812345678")
    first, second, third = lines_of(
        settled, events.Paused("account:a", None, said, "27"), events.ProducerFailed(7, said)
    )
    assert (first["error_message"], second["reason"], third["error"]) == (shown,) * 3
    assert first["request_id"] == "13812345678", "the platform is asked by it"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("colors", [True, False])
def test_on_a_terminal_colours_can_be_turned_off(colors: bool) -> None:
    stream = Terminal()
    LogLines(worker="w", colors=colors, stream=stream)(SETTLED)
    assert ("\x1b" in stream.getvalue()) is colors
    assert "request r1" in stream.getvalue()


def test_off_a_terminal_there_is_no_colour() -> None:
    stream = io.StringIO()
    LogLines(worker="w", style="console", stream=stream)(SETTLED)
    assert "\x1b" not in stream.getvalue()
    assert "request r1" in stream.getvalue()


# What people read: a sentence an event, with nothing of the form of a program in it.
READ = [
    (SETTLED, "call 7 of shop: ok, 2 done in 31 ms, request r1"),
    (
        dataclasses.replace(
            SETTLED,
            outcome="partial",
            done=1,
            failed=1,
            error_code="15",
            sub_code="isv.x",
            error_message="no",
        ),
        "call 7 of shop: partial, 1 done, 1 failed in 31 ms, 15 isv.x no, request r1",
    ),
    (
        dataclasses.replace(SETTLED, outcome="unknown", done=0, unknown=2, http_status=502, request_id=None),
        "call 7 of shop: unknown, 2 unknown in 31 ms, HTTP 502",
    ),
    (
        dataclasses.replace(SETTLED, outcome="released", done=0, duration_ms=None),
        "call 7 of shop: released, 2 messages",
    ),
    (events.WorkerStarted("w", "tmc", 8), "worker w started, producer tmc, 8 calls at once"),
    (
        events.WorkerStarted("w", "tmc", 1, "0.1", "h:1/d", "18.1", "relay", "https://h/r", "*:9464"),
        "worker w started, relay 0.1, producer tmc to https://h/r, 1 call at once, PostgreSQL 18.1 at h:1/d, schema",
    ),
    (events.Claimed(1, 1200, 3, 0.0104), "claimed 1,200 messages in 1 call, 3 past deliver_before, in 10 ms"),
    (
        events.Paused("app:77", None, "no right", "27", 2),
        "app:77 and 2 more is paused until it is resumed or has",
    ),
    (events.Paused("account:a", 1.0, "throttled", "7"), "account:a is paused for 1 s: throttled (7)"),
    (
        events.DatabaseLost("claim", "PostgreSQL was lost."),
        "the database cannot be asked (claim): PostgreSQL was lost.",
    ),
    (events.WorkerStopped(3, 100, 1), "stopped after 3 calls: 100 done, 1 failed"),
]


@pytest.mark.parametrize(("event", "told"), READ)
def test_people_read_a_sentence(event: events.Event, told: str) -> None:
    stream = io.StringIO()
    LogLines(worker="w", level="debug", style="console", stream=stream)(event)
    line = stream.getvalue()
    assert re.match(rf"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d {level_of(event):7} {re.escape(told)}", line), line
    assert line.count("\n") == 1, "off a terminal an event stays a line"


@pytest.mark.parametrize(("event", "level"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_every_event_has_a_sentence_that_fits_a_terminal(event: events.Event, level: str) -> None:
    long = {name: value for name, value in dataclasses.asdict(event).items() if isinstance(value, str)}
    longer = dataclasses.replace(
        event, **{name: f"{value} 退款 wörds, {'x' * 200} and more" for name, value in long.items()}
    )
    for told in (event, longer):
        stream = Terminal()
        LogLines(worker="w", level="debug", colors=False, stream=stream)(told)
        first, *others = stream.getvalue().splitlines()
        assert first[20:28].strip() == level_of(told)
        assert "=" not in first, "give it a sentence in relay/observers/sentences.py"
        assert "." not in event.name or event.name not in first, "give it a sentence in relay/observers/sentences.py"
        assert [line for line in (first, *others) if width(line) > 120] == []
        assert [line for line in others if not line.startswith(" " * 28)] == []
    assert not long or "and more" in " ".join(stream.getvalue().split()), "nothing is cut off"


@pytest.mark.parametrize(
    "answer",
    [
        Answered((Result(Fault.MESSAGE, "isv.x", "no"),), request_id="r1"),
        Refused(Fault.CREDENTIALS, "27", app_key="77", credential="c0ffee"),
        Refused(Fault.CONTENT, "41"),
    ],
    ids=["one index", "credentials", "content"],
)
def test_no_content_key_or_fingerprint_reaches_a_line(answer: Answered | Refused) -> None:
    message = Message(1, "topic", '{"tid": "swordfish"}', json_ex_content='{"x": "trout"}', ordering_key="order-9")
    batch = Batch(7, "a", (message,))
    settlement = decide(batch, answer, Policy(), random.Random(1))
    stream = io.StringIO()
    LogLines(worker="w", level="debug", style="json", stream=stream)(call_settled(Finished(batch, settlement, 1.0)))
    line = stream.getvalue()
    assert json.loads(line)["call_id"] == 7
    assert not [word for word in ("swordfish", "trout", "order-9", "c0ffee") if word in line]


def test_the_event_of_a_call_counts_each_message_once() -> None:
    messages = tuple(Message(id_, "t", "{}") for id_ in range(4))
    said = (Result(), Result(Fault.MESSAGE), Result(Fault.PROVIDER), Result(Fault.UNKNOWN))
    batch = Batch(7, "a", messages)
    event = call_settled(Finished(batch, decide(batch, Answered(said), Policy(), random.Random(1)), 1.0, 0.25))
    assert (event.messages, event.done, event.failed, event.retry, event.unknown, event.split) == (4, 1, 1, 1, 1, 0)
    assert event.duration_ms == 250
    split = call_settled(Finished(batch, decide(batch, Refused(Fault.CONTENT), Policy(), random.Random(1))))
    assert (split.split, split.done + split.failed + split.retry + split.unknown, split.duration_ms) == (4, 0, None)


def test_an_observer_that_raises_is_alone_with_it() -> None:
    heard: list[events.Event] = []

    def broken(_: events.Event) -> None:
        raise OSError("disk full")

    told = events.Events([broken, heard.append, broken])
    told.emit(SETTLED)
    told.emit(events.CallLost(1))
    assert heard == [SETTLED, events.CallLost(1)]


def test_the_libraries_below_are_silent() -> None:
    names = ("aiohttp", "httpx", "sqlalchemy", "psycopg", "alembic")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        silence_libraries()
        below = ("aiohttp.client", "httpx", "sqlalchemy.engine.Engine", "psycopg.pool", "alembic.runtime")
        assert not [name for name in below if logging.getLogger(name).isEnabledFor(logging.ERROR)]
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
