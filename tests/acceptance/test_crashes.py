"""Workers that are killed, stopped politely, stopped impolitely, and a database that crashes under them."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from threading import Lock

import pytest

import relay
from relay.embedded import EmbeddedPostgres
from tests.acceptance.outbox import Outbox, assert_reconciled, numbered, overlapping_claims
from tests.acceptance.patience import eventually
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.strict_platform import (
    Behaviour,
    Call,
    Reply,
    StrictPlatform,
    answer_when_let_go,
    cut_after_storing,
    cut_before_storing,
    hang,
    hang_after_storing,
    honest,
    later,
)


@pytest.mark.parametrize("behaviour", [hang, hang_after_storing])
def test_a_worker_killed_in_the_middle_of_a_call(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay, behaviour: Behaviour
) -> None:
    outbox.insert(numbered(120))
    env |= {"RELAY_LEASE_SECONDS": "3"}
    platform.script.extend([honest, behaviour, behaviour])
    killed = start_relay("run", env=env)
    eventually(lambda: platform.waiting == 2 and outbox.statuses().get("done"))
    killed.kill()
    assert outbox.open_calls() == 2

    heir = start_relay("run", "--drain", env=env)

    assert heir.wait() == 0, heir.report()
    assert outbox.statuses() == {"done": 120}
    codes = outbox.select("select distinct outcome, error_code from relay.attempt")
    assert codes == [("unknown", "relay.lease_expired")]
    in_doubt = {content for call in platform.calls[1:3] for content in _contents(call)}
    assert {row.content for row in outbox.rows() if row.attempts == 2} == in_doubt
    twice = {content for content, times in Counter(platform.contents).items() if times == 2}
    assert twice == (in_doubt if behaviour is hang_after_storing else set())
    assert_reconciled(outbox, platform)


class Unreliable:
    """Honest after some milliseconds, but for one call in eight."""

    def __init__(self) -> None:
        self._rng = random.Random(8)
        self._lock = Lock()

    def __call__(self, platform: StrictPlatform, call: Call) -> Reply | None:
        with self._lock:
            mishap = self._rng.choice([cut_before_storing, cut_after_storing, *[honest] * 14])
            seconds = self._rng.uniform(0.02, 0.06)
        return later(seconds, mishap)(platform, call)


def test_kill_after_kill(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    contents = numbered(1500)
    outbox.insert(contents)
    platform.otherwise = Unreliable()
    env |= {"RELAY_TMC_TIMEOUT_SECONDS": "1", "RELAY_LEASE_SECONDS": "2"}
    arguments = ("run", "--batch-size", "10", "--concurrency", "3")
    workers = [start_relay(*arguments, env=env), start_relay(*arguments, env=env)]
    for kills in range(8):
        eventually(partial(_called, platform, len(platform.calls) + 8))
        workers[kills % 2].kill()
        workers[kills % 2] = start_relay(*arguments, env=env)

    eventually(outbox.finished)
    for worker in workers:
        worker.terminate()

    assert [worker.wait() for worker in workers] == [0, 0]
    assert outbox.statuses() == {"done": 1500}
    assert set(platform.contents) == set(contents)
    assert outbox.scalar("select count(*) from relay.attempt where error_code = 'relay.lease_expired'") > 0
    assert overlapping_claims(outbox) == []
    assert_reconciled(outbox, platform)


def test_sigterm_lets_calls_in_flight_land(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(300))
    platform.otherwise = answer_when_let_go
    env |= {"RELAY_TMC_TIMEOUT_SECONDS": "15", "RELAY_LEASE_SECONDS": "20"}
    worker = start_relay("run", "--concurrency", "2", env=env)
    eventually(lambda: platform.waiting == 2)

    worker.terminate()
    worker.wait_for_line('"worker.stopping"')
    platform.let_go.set()

    assert worker.wait() == 0, worker.report()
    assert len(platform.calls) == 2  # nothing was claimed any more
    assert outbox.statuses() == {"done": 100, "pending": 200}
    assert outbox.attempts("unknown") == {}
    assert_reconciled(outbox, platform)


def test_a_second_sigterm_does_not_wait(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(100))
    platform.otherwise = hang_after_storing
    env |= {"RELAY_TMC_TIMEOUT_SECONDS": "60", "RELAY_LEASE_SECONDS": "90"}
    worker = start_relay("run", env=env)
    eventually(lambda: platform.waiting == 2)

    worker.terminate()
    worker.wait_for_line('"worker.stopping"')
    worker.terminate()

    assert worker.wait(10) == 0, worker.report()
    assert outbox.statuses() == {"pending": 100}
    assert outbox.select("select distinct outcome, error_code from relay.attempt") == [("unknown", "relay.stopped")]
    assert_reconciled(outbox, platform)


def test_sigterm_in_the_middle_of_much_work_is_a_clean_end(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(600))
    platform.otherwise = later(0.02)
    worker = start_relay("run", "--concurrency", "2", env=env)
    eventually(partial(_called, platform, 3))

    worker.terminate()

    assert worker.wait(10) == 0, worker.report()
    assert outbox.statuses()["done"] == len(platform.contents)
    assert outbox.attempts("unknown") == {}
    assert_reconciled(outbox, platform)


def test_postgresql_crashes_while_draining(
    own_postgres: EmbeddedPostgres, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    relay.migrate(own_postgres.url())
    outbox = Outbox(own_postgres.url())
    outbox.insert(numbered(1000))
    platform.otherwise = later(0.03)
    env |= {"RELAY_DATABASE_URL": outbox.url}
    worker = start_relay("run", "--drain", "--batch-size", "10", "--concurrency", "2", env=env)

    for calls in (15, 45):
        eventually(partial(_called, platform, calls))
        own_postgres.restart("immediate")
        assert own_postgres.url() == outbox.url

    assert worker.wait(40) == 0, worker.report()
    assert _event_names(worker) >= {"database.lost"}
    assert outbox.statuses() == {"done": 1000}
    assert_reconciled(outbox, platform)


def test_postgresql_stays_away_while_the_worker_is_stopped(
    own_postgres: EmbeddedPostgres, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """An answer that could not be written down is in doubt, not lost, and the worker ends all the same."""
    relay.migrate(own_postgres.url())
    outbox = Outbox(own_postgres.url())
    outbox.insert(numbered(50))
    platform.otherwise = answer_when_let_go
    env |= {"RELAY_DATABASE_URL": outbox.url, "RELAY_SHUTDOWN_GRACE_SECONDS": "0"}
    worker = start_relay("run", env=env)
    eventually(lambda: platform.waiting == 1)
    own_postgres.stop("immediate")
    platform.let_go.set()
    worker.wait_for_line('"stage": "settle"')

    worker.terminate()

    assert worker.wait(15) == 0, worker.report()
    assert "Traceback" not in worker.report()
    own_postgres.start()
    heir = start_relay("run", "--drain", env=env)
    assert heir.wait() == 0, heir.report()
    assert outbox.statuses() == {"done": 50}
    assert len(platform.contents) == 100
    assert len(outbox.attempts("unknown")) == 50
    assert_reconciled(outbox, platform)


def _called(platform: StrictPlatform, times: int) -> bool:
    return len(platform.calls) >= times


def _contents(call: Call) -> list[str]:
    return [element["content"] for element in call.elements]


def _event_names(worker: RelayProcess) -> set[str]:
    return {json.loads(line)["event"] for line in worker.stderr if line.startswith("{")}
