"""A worker against the platform of one test: what it answers, what arrives, and where a drain ends."""

from __future__ import annotations

import logging
import ssl
import threading

import pytest
from sqlalchemy import Engine, event

import relay
from relay.errors import ConfigurationError
from relay.testing import Drain, ScriptedPlatform
from relay.worker import Report
from tests.fixtures.rows import Rows


@pytest.fixture
def platform() -> ScriptedPlatform:
    return ScriptedPlatform()


@pytest.fixture
def drain(database_url: str, platform: ScriptedPlatform) -> Drain:
    return Drain(database_url, platform)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def test_answers_by_index_and_what_arrived(rows: Rows, drain: Drain, platform: ScriptedPlatform) -> None:
    for n in range(3):
        rows.add(content=f'{{"n": {n}}}', account="shop-7")
    platform.answer(1, "isv.trade-not-exist", "no such trade")
    platform.answer(0, "isp.busy", call=2)
    report = drain()
    assert (report.done, report.failed) == (2, 1)
    assert rows.one("select error_code from relay.outbox where status = 'failed'") == "isv.trade-not-exist"
    assert [message.content for message in platform.arrived("t")] == [{"n": 0}, {"n": 2}]
    [message] = platform.assert_arrived("t", times=1, content={"n": 2})
    assert message.index == 2
    with pytest.raises(AssertionError, match="expected accepted: 't', content=\\{'n': 1\\}"):
        platform.assert_arrived("t", content={"n": 1})
    rows.add(content='{"n": 3}')
    assert drain().calls == 2
    platform.assert_arrived("t", times=1, content={"n": 3})
    platform.assert_nothing_arrived("another")
    with pytest.raises(AssertionError, match="no message was expected to be accepted"):
        platform.assert_nothing_arrived()
    assert [call.accepted for call in platform.calls] == [2, 0, 1]


def test_answers_that_cannot_be_said_are_refused_or_told(rows: Rows, drain: Drain, platform: ScriptedPlatform) -> None:
    rows.add(content='{"n": 1}')
    assert drain().calls == 1
    impossible = [(-1, "isv.x", None), (50, "isv.x", None), ("x", "isv.x", None), (0, " ", None), (0, "isv.x", 1)]
    for index, code, call in impossible:
        with pytest.raises(ValueError, match=r"is no (index|error code|call)"):
            platform.answer(index, code, call=call)  # type: ignore[arg-type]
    platform.answer(0, "isp.busy")
    platform.answer(7, "isv.x")
    platform.answer(0, "isv.x", call=9)
    rows.add(content='{"n": 2}')
    assert drain().calls == 2
    assert platform.unused() == [
        "relay_platform.answer(7, ..., call=2) was never said: call 2 carried 1",
        "relay_platform.answer(0, ..., call=9) was never said: calls made: 3",
    ]


def test_who_did_not_commit_is_told_that_a_worker_sees_no_more(drain: Drain, platform: ScriptedPlatform) -> None:
    report = drain()
    assert "a worker sees committed messages only" in repr(report)
    assert (report, report.done) == (Report(), 0)
    with pytest.raises(AssertionError, match="no call was made: a worker sees committed messages only"):
        platform.assert_arrived("t")


def test_a_platform_that_is_down_fails_a_message_and_a_session_that_expired_ends_the_drain(
    rows: Rows, drain: Drain, platform: ScriptedPlatform
) -> None:
    rows.add()
    platform.fault("http-502")
    assert drain().calls == 3
    assert (
        rows.one("select (status, error_code, attempts)::text from relay.outbox")
        == "(failed,relay.attempts_exhausted,3)"
    )
    rows.add()
    platform.fault("session-expired")
    report = drain()
    assert (report.left, report.pauses[0].error_code) == (1, "session-expired")
    platform.assert_nothing_arrived()
    with pytest.raises(ConfigurationError, match="no fault 'cut-afte'"):
        platform.fault("cut-afte")


def test_what_cannot_be_sent_yet_ends_the_drain_with_a_sentence(
    rows: Rows, drain: Drain, platform: ScriptedPlatform
) -> None:
    rows.add(due_in_seconds=300)
    before = threading.active_count()
    with pytest.raises(relay.RelayError, match=r"still something to send after 0\.5 s"):
        drain(within_seconds=0.5)
    platform.assert_nothing_arrived()
    assert threading.active_count() <= before + 1


def test_nothing_of_the_machine_is_read_and_options_can_be_given(
    rows: Rows,
    drain: Drain,
    platform: ScriptedPlatform,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("RELAY_TMC_URL", "RELAY_DATABASE_URL", "RELAY_NO_SUCH_OPTION", "RELAY_BATCH_SIZE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    rows.add(3)
    with caplog.at_level(logging.WARNING):
        assert drain(batch_size=1).calls == 3
    assert caplog.records == []


def test_a_drain_does_no_more_than_it_must(rows: Rows, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    """What made it cost a tenth of a second: authorities for TLS, connections for accounts, a row in the ledger."""
    made: list[object] = []
    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *args, **kw: made.append(args) or create(*args, **kw))
    dialects: set[object] = set()

    def connecting(dialect: object, *_: object) -> None:
        dialects.add(dialect)

    rows.add(3, account="shop-7")
    event.listen(Engine, "do_connect", connecting)
    try:
        assert drain().done == 3
    finally:
        event.remove(Engine, "do_connect", connecting)
    assert (len(dialects), made) == (1, [])
    assert rows.one("select count(*) from relay.action") == 0
    with pytest.raises(relay.RelayError, match="RELAY_ACCOUNTS_QUERY"):
        drain(accounts_query="select nonsense")
