"""A platform that keeps messages and says something else: done only on proof, and what is in doubt is on record.

Five messages, one call that is answered with a lie, honest answers after it. A message in doubt is sent again.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.outbox import Outbox, assert_reconciled, numbered
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import (
    Behaviour,
    StrictPlatform,
    cut_after_storing,
    cut_before_storing,
    error,
    hang_after_storing,
    lie,
    raw,
)

MESSAGES = 5
EVERYONE = [0, 1, 2, 3, 4]
SUCCESS, FAILURE = {"is_success": True}, {"is_success": False, "error_code": "isv.odd"}


def shortened(response: dict[str, Any]) -> None:
    response["results"] = response["results"][:3]


def lengthened(response: dict[str, Any]) -> None:
    response["results"] += [SUCCESS, FAILURE]


def one_entry_fails(response: dict[str, Any]) -> None:
    response["results"][2] = FAILURE


def one_entry_is_null(response: dict[str, Any]) -> None:
    response["results"][2] = None


def without_results(response: dict[str, Any], *, all_success: object) -> None:
    response |= {"is_all_success": all_success}
    del response["results"]


TIMED_OUT = "isp.top-remote-connection-timeout"
# What the call is answered with -> the indexes that this does not prove.
LIES: dict[str, tuple[Behaviour, list[int]]] = {
    "all well, no results": (lie(lambda r: without_results(r, all_success=True)), []),
    "not all well, no results": (lie(lambda r: without_results(r, all_success=False)), EVERYONE),
    "no flag, no results": (lie(lambda r: without_results(r, all_success=None)), EVERYONE),
    "a list too short": (lie(shortened), [3, 4]),
    "a list too long": (lie(lengthened), []),
    "all well, one entry fails": (lie(one_entry_fails), [2]),
    "one entry is null": (lie(one_entry_is_null), [2]),
    "truncated JSON": (raw('{"tmc_messages_produce_response":{"is_all_success":true,"resul'), EVERYONE),
    "HTML": (raw("<html><body>welcome</body></html>"), EVERYONE),
    "502": (raw("<html>Bad Gateway</html>", 502), EVERYONE),
    "a 500 that says all is well": (raw('{"is_all_success":true}', 500), EVERYONE),
    "timed out behind the gateway": (error(15, TIMED_OUT, keep=True), EVERYONE),
    "cut before storing": (cut_before_storing, EVERYONE),
    "cut after storing": (cut_after_storing, EVERYONE),
    "no answer after storing": (hang_after_storing, EVERYONE),
}


@pytest.mark.parametrize(("behaviour", "doubtful"), LIES.values(), ids=LIES.keys())
def test_done_only_on_proof(
    outbox: Outbox,
    platform: StrictPlatform,
    env: dict[str, str],
    start_relay: StartRelay,
    behaviour: Behaviour,
    doubtful: list[int],
) -> None:
    outbox.insert(numbered(MESSAGES))
    platform.script.append(behaviour)

    relay = start_relay("run", "--drain", env={**env, "RELAY_TMC_TIMEOUT_SECONDS": "1.5"})

    assert relay.wait() == 0, relay.report()
    assert outbox.statuses() == {"done": MESSAGES}
    rows = outbox.rows()
    in_doubt = [rows[index].id for index in doubtful]
    assert outbox.attempts("unknown") == dict.fromkeys(in_doubt, 1)
    assert {row.id for row in rows if row.attempts == 2} == set(in_doubt)
    proven_at_once = outbox.select("select id from relay.outbox where call_id = (select min(id) from relay.call)")
    assert {id_ for (id_,) in proven_at_once} == {row.id for row in rows} - set(in_doubt)
    assert_reconciled(outbox, platform)


BUSY, THROTTLED = "isp.service-unavailable", "accesscontrol.limited-by-api-access-count"
REFUSALS: dict[str, tuple[Behaviour, str]] = {
    "a provider's fault": (error(15, BUSY), BUSY),
    "too many calls": (error(7, THROTTLED), THROTTLED),
    "turned away at the door": (raw("", 503, keep=False), "relay.http_503"),
}


@pytest.mark.parametrize(("behaviour", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_clear_refusal_leaves_no_doubt(
    outbox: Outbox,
    platform: StrictPlatform,
    env: dict[str, str],
    start_relay: StartRelay,
    behaviour: Behaviour,
    code: str,
) -> None:
    outbox.insert(numbered(MESSAGES))
    platform.script.append(behaviour)

    relay = start_relay("run", "--drain", env=env)

    assert relay.wait() == 0, relay.report()
    assert outbox.statuses() == {"done": MESSAGES}
    assert outbox.attempts("unknown") == {}
    assert outbox.select("select distinct outcome, error_code from relay.attempt") == [("retry", code)]
    assert sorted(platform.contents) == sorted(numbered(MESSAGES))
    assert_reconciled(outbox, platform)
