"""A worker killed at each point of the cycle: what becomes of its call, and which messages the platform gets twice.

Promises 2, 3, 5 and 6. The worker is ``relay run`` that kills itself at a named point (``fixtures/killed_worker.py``);
its heir is a plain ``relay run --drain``, which waits for the lease. Nobody cleans up in between.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.acceptance.ledger import assert_ledger
from tests.acceptance.outbox import Outbox, overlapping_claims
from tests.fixtures.accepted import accepted_contents
from tests.fixtures.killed_worker import KILLED_WORKER
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import Behaviour, StrictPlatform, error, hang_after_storing, honest
from tests.fixtures.waiting import eventually

LEASE_SECONDS = 2.5
SHORT = {"RELAY_TMC_TIMEOUT_SECONDS": "1.5", "RELAY_LEASE_SECONDS": str(LEASE_SECONDS)}


class Kill(NamedTuple):
    """What the platform does with the worker's first call, and what must become of it."""

    behaviour: Behaviour
    leaves_open: int  # calls with the same messages, when the worker is dead
    outcome: str  # of that call, in the end
    stored: int  # times each of its messages, in the end


KILLS = {
    "claimed": Kill(honest, leaves_open=1, outcome="unknown", stored=1),
    "sent": Kill(honest, leaves_open=1, outcome="unknown", stored=2),
    "answered": Kill(honest, leaves_open=1, outcome="unknown", stored=2),
    "settling": Kill(honest, leaves_open=1, outcome="unknown", stored=2),
    "settled": Kill(honest, leaves_open=0, outcome="ok", stored=1),
    "splitting": Kill(error(41, "isv.invalid-parameter"), leaves_open=2, outcome="rejected", stored=1),
    "extending": Kill(hang_after_storing, leaves_open=1, outcome="unknown", stored=2),
}
REACHES_THE_PLATFORM = KILLS.keys() - {"claimed", "splitting"}


def fill(outbox: Outbox, messages: int, keys: int) -> None:
    """A third of them with a key."""
    outbox.execute(
        """
        insert into relay.outbox (topic, content, ordering_key)
        select 'taobao_jds_TradeTrace',
            json_build_object('tid', n, 'mark', case when mod(n, 100) = 50 then 'WHOLE' else 'plain' end),
            case when mod(n, 3) = 0 then 'key-' || mod(n / 3, %s) end
        from generate_series(1, %s) n
        """,
        keys,
        messages,
    )


def run_until_killed(start_relay: StartRelay, point: str, times: int, env: dict[str, str], *arguments: str) -> None:
    worker = start_relay(point, str(times), *arguments, env=env, program=KILLED_WORKER)
    assert worker.wait(40) == -signal.SIGKILL, f"{point} was not reached:\n{worker.report()[-3000:]}"


@pytest.mark.parametrize("point", KILLS)
def test_killed_at(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay, point: str
) -> None:
    kill = KILLS[point]
    fill(outbox, 40, keys=2)
    platform.script.append(kill.behaviour)
    env |= SHORT
    run_until_killed(start_relay, point, 1, env, "--concurrency", "1")
    hit, message_ids = outbox.select("select id, message_ids from relay.call order by id limit 1")[0]
    assert len(message_ids) == 29  # without a key, and the first of each key
    if point in REACHES_THE_PLATFORM:
        eventually(lambda: len(platform.contents) == 29)
    # Of the same messages only: behind what was settled just now, the next claim may have got through.
    assert calls(outbox, message_ids, "settled_at is null") == kill.leaves_open
    assert outbox.statuses().get("done", 0) == (29 if point == "settled" else 0)
    if point == "extending":
        assert calls(outbox, message_ids, f"lease_until = claimed_at + interval '{LEASE_SECONDS} s'") == 1

    heir = start_relay("run", "--drain", env=env)

    assert heir.wait() == 0, heir.report()
    assert platform.violations == []
    assert_ledger(outbox, platform.contents, refused=set())
    assert overlapping_claims(outbox) == []
    assert outbox.scalar("select outcome from relay.call where id = %s", hit) == kill.outcome
    assert stored_twice(outbox, platform.contents) == (set(message_ids) if kill.stored == 2 else set())
    unknown = outbox.attempts("unknown")
    assert {unknown.get(id_, 0) for id_ in message_ids} == {min(kill.leaves_open, 1)}
    assert calls(outbox, message_ids, "error_code = 'relay.lease_expired'") == kill.leaves_open


def calls(outbox: Outbox, message_ids: list[int], condition: str) -> int:
    """How many of those with any of these messages."""
    query = f"select count(*) from relay.call where message_ids && %s::bigint[] and {condition}"
    return int(outbox.scalar(query, message_ids))


def stored_twice(outbox: Outbox, contents: Iterable[str]) -> set[int]:
    """Message ids."""
    ids = dict(outbox.select("select (content->>'tid')::bigint, id from relay.outbox"))
    times = Counter(int(json.loads(content)["tid"]) for content in contents)
    assert max(times.values()) <= 2
    return {ids[tid] for tid, stored in times.items() if stored == 2}


def test_two_workers_and_twelve_kills(outbox: Outbox, env: dict[str, str], start_relay: StartRelay) -> None:
    """Each worker is the heir of six dead ones, while the other one works."""
    fill(outbox, 3000, keys=100)
    sandbox = start_relay("sandbox", "--port", "0", "--fault", "slow=0.02", "--fault", "refuse-batch=WHOLE")
    url = sandbox.wait_for_line(r"RELAY_TMC_URL=(http://\S+)/router/rest", "stdout")[1]
    env |= SHORT | {
        "RELAY_TMC_URL": f"{url}/router/rest",
        "RELAY_TMC_APP_KEY": "10000001",
        "RELAY_TMC_APP_SECRET": "sandbox-secret-not-a-secret",
        "RELAY_TMC_SESSION": "sandbox-session-0001",
        "RELAY_MAX_ATTEMPTS": "40",
    }
    points = ("splitting", "claimed", "sent", "settling", "answered", "settled")

    def six_deaths(order: Iterable[str]) -> None:
        for point in order:
            run_until_killed(start_relay, point, 3, env, "--concurrency", "2", "--batch-size", "10")

    with ThreadPoolExecutor() as pool:
        list(pool.map(six_deaths, [points, points[::-1]]))
    assert outbox.statuses()["pending"] > 0
    heir = start_relay("run", "--drain", env=env)

    assert heir.wait(60) == 0, heir.report()
    accepted = accepted_contents(url)
    assert_ledger(outbox, accepted, refused=set(range(50, 3000, 100)))
    assert overlapping_claims(outbox) == []
    assert len(accepted) > len(set(accepted)), "six of the twelve died between a request and its settling"
