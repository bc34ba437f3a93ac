"""The job itself: rows by plain INSERT, one drain, and every row ends as the platform said, letter for letter."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.acceptance.outbox import TOPIC, Outbox, assert_reconciled, numbered
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import StrictPlatform

COMMITTED, REFUSED, ROLLED_BACK = 500, 20, 20
CODE = "isv.invalid-parameter:content"

AWKWARD = [
    '{"tid":2895732958732,"seller_nick":"向阳aa","operator":"小张"}',
    '{"form":"a+b & c=d % 100%25 / \\\\ ? # ; ~ * \'"}',
    r'{"escapes":"\n\r\t\b\f \" \\ \/ \u4e2d \ud83d\ude00 \u0000"}',
    '{ "blanks" :  1 ,\n\t"line break" : [ ] }  ',
    '{"numbers":[1.0,1e400,-0,12345678901234567890123456789,0.1000]}',
    '{"same":1,"same":2,"":null,"emoji":"😀 \u2028 \u00a0"}',
    '{"xml":"<a href=\'x\'>&amp;</a> ]]> <!-- -->"}',
    "{}",
]
CASES = {
    "md5, JSON": {"RELAY_TMC_SIGN_METHOD": "md5", "RELAY_TMC_FORMAT": "json"},
    "hmac, XML": {"RELAY_TMC_SIGN_METHOD": "hmac", "RELAY_TMC_FORMAT": "xml"},
    "hmac-sha256, simplified JSON": {"RELAY_TMC_SIGN_METHOD": "hmac-sha256", "RELAY_TMC_SIMPLIFY": "true"},
}


@pytest.mark.parametrize("wire", CASES.values(), ids=CASES.keys())
def test_main_job(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay, wire: dict[str, str]
) -> None:
    refused = {json.dumps({"tid": number, "note": "违禁词"}, ensure_ascii=False) for number in range(REFUSED)}
    good = AWKWARD + numbered(COMMITTED - REFUSED - len(AWKWARD))
    spread = {position * 25: content for position, content in enumerate(sorted(refused))}
    rest = iter(good)
    outbox.insert(spread.get(position) or next(rest) for position in range(COMMITTED))
    with psycopg.connect(outbox.libpq_url) as connection:
        for content in numbered(ROLLED_BACK, "rolled back"):
            connection.execute("INSERT INTO relay.outbox (topic, content) VALUES (%s, %s)", (TOPIC, content))
        connection.rollback()
    platform.refuses = lambda content: CODE if "违禁词" in content else None

    relay = start_relay("run", "--drain", env={**env, **wire})

    assert relay.wait() == 0, relay.report()
    assert relay.stdout == []
    assert sorted(platform.contents) == sorted(good)  # letter for letter, nothing twice, nothing rolled back
    assert len(platform.calls) <= 12
    assert {element["topic"] for call in platform.calls for element in call.elements} == {TOPIC}
    assert {call.params["sign_method"] for call in platform.calls} == {wire["RELAY_TMC_SIGN_METHOD"]}
    assert outbox.statuses() == {"done": COMMITTED - REFUSED, "failed": REFUSED}
    failed = [row for row in outbox.rows() if row.status == "failed"]
    assert {row.content for row in failed} == refused
    assert {(row.error_code, row.error_message, row.attempts) for row in failed} == {(CODE, "拒绝", 1)}
    assert_reconciled(outbox, platform)
