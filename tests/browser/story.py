"""A day of a shop, made up and always the same, for the pictures of the documents.

Three accounts sell. Calls go through all day; a few messages are refused, one call gets no answer, and in the end the
session of one account has expired: it is paused, and its messages wait. Times are told from now backwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from sqlalchemy import Engine, text

TOPIC = "taobao_jds_TradeTrace"
SELLERS = {"default": "向阳旗舰店", "chunfeng": "春风小店", "haitang": "海棠家居"}
STATUSES = (("X_TO_SYSTEM", "小张"), ("X_PACKAGED", "小李"), ("X_OUT_WAREHOUSE", "小王"))
REFUSED = ("isv.invalid-parameter:content", "the content has no status that is known")
EXPIRED = ("relay.expired", "deliver_before has passed")
FORBIDDEN = ("isv.invalid-permission", "the application may not send this topic")
BUSY = ("isp.remote-service-timeout", "the remote service took too long")
MINUTE, HOUR = 60.0, 3600.0
PAUSED_SINCE = 26 * MINUTE

_CALLS = """
insert into relay.call (id, account, worker, message_ids, claimed_at, lease_until, sent_at, settled_at, outcome,
    http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms)
overriding system value
select id, account, worker, message_ids, at, at + interval '1 minute', at + interval '4 ms',
    at + make_interval(secs => duration_ms / 1000.0), outcome, http_status, request_id, error_code, sub_code,
    error_message, 340 * cardinality(message_ids), duration_ms
from jsonb_to_recordset(cast(:rows as jsonb)) as r (id bigint, account text, worker text, message_ids bigint[],
    age float8, duration_ms integer, outcome text, http_status smallint, request_id text, error_code text,
    sub_code text, error_message text)
cross join lateral (select now() - make_interval(secs => age) as at) as begun
"""
_MESSAGES = """
insert into relay.outbox (id, topic, content, account, ordering_key, producer, available_at, created_at, status,
    attempts, call_id, result_index, error_code, error_message, finished_at)
overriding system value
select id, :topic, content, account, ordering_key, 'shop', now() - make_interval(secs => age),
    now() - make_interval(secs => age), status, attempts, call_id, result_index, error_code, error_message,
    now() - make_interval(secs => finished)
from jsonb_to_recordset(cast(:rows as jsonb)) as r (id bigint, content json, account text, ordering_key text,
    age float8, status text, attempts integer, call_id bigint, result_index smallint, error_code text,
    error_message text, finished float8)
"""
_ATTEMPTS = """
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message, at, retry_at)
select message_id, call_id, result_index, outcome, error_code, error_message, now() - make_interval(secs => age),
    case when outcome <> 'failed' then now() - make_interval(secs => age - 2) end
from jsonb_to_recordset(cast(:rows as jsonb)) as r (message_id bigint, call_id bigint, result_index smallint,
    outcome text, error_code text, error_message text, age float8)
"""
_REST = f"""
insert into relay.mask (topic, pointer) values ('{TOPIC}', '/receiver_mobile');
insert into relay.pause (scope, since, reason, error_code, credential, by) values ('account:chunfeng',
    now() - interval '{PAUSED_SINCE} seconds', 'credentials refused: Invalid session', '27', 'b1946ac92492', 'worker-1')
"""


@dataclass
class Story:
    """Rows as they come about, ``now`` being when they were written.

    ``fifty`` and ``thrice``: the call and the message that the pictures show.
    """

    calls: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    now: datetime | None = None
    fifty: int = 0
    thrice: int = 0
    draw: Random = field(default_factory=lambda: Random(11))

    def message(self, account: str, age: float) -> dict[str, Any]:
        """One that waits."""
        number = len(self.messages) + 1
        status, operator = STATUSES[number % 3]
        tid = 4_213_000_000_000 + number * 37
        content = {
            "tid": tid, "seller_nick": SELLERS[account], "status": status, "operator": operator,
            "action_time": "2026-11-11 09:12:00", "receiver_mobile": f"138{number:08}",
        }  # fmt: skip
        self.messages.append({
            "id": number, "content": content, "account": account, "ordering_key": str(tid), "age": age,
            "status": "pending", "attempts": 0,
        })  # fmt: skip
        return self.messages[-1]

    def call(self, account: str, age: float, messages: list[dict[str, Any]], **said: Any) -> int:
        """A call that was answered, unless ``said`` tells something else; its messages stay as they are."""
        alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
        self.calls.append({
            "id": len(self.calls) + 1, "account": account, "worker": f"worker-{len(self.calls) % 2 + 1}",
            "message_ids": [one["id"] for one in messages], "age": age, "duration_ms": self.draw.randint(48, 160),
            "outcome": "ok", "http_status": 200, "request_id": "".join(self.draw.choices(alphabet, k=12)), **said,
        })  # fmt: skip
        return len(self.calls)

    def settle(self, call: int, index: int, message: dict[str, Any], outcome: str, why: tuple[str, str]) -> None:
        """What the call meant for the message at this position."""
        made = self.calls[call - 1]
        settled = made["age"] - made["duration_ms"] / 1000
        message["attempts"] += 1
        message["error_code"], message["error_message"] = why if outcome != "done" else (None, None)
        if outcome in ("done", "failed"):
            message |= {"status": outcome, "call_id": call, "result_index": index, "finished": settled}
        if outcome != "done":
            self.attempts.append({
                "message_id": message["id"], "call_id": call, "result_index": index, "outcome": outcome,
                "error_code": why[0], "error_message": why[1], "age": settled,
            })  # fmt: skip

    def deliver(self, account: str, age: float, size: int, wrong: dict[int, tuple[str, tuple[str, str]]]) -> int:
        """A call of new messages; ``wrong``: by position, what became of those that were not accepted."""
        sent = [self.message(account, age + self.draw.uniform(0.1, 1.5)) for _ in range(size)]
        call = self.call(account, age, sent, outcome="partial" if wrong else "ok")
        for index, message in enumerate(sent):
            outcome, why = wrong.get(index, ("done", ("", "")))
            self.settle(call, index, message, outcome, why)
            if outcome == "retry":
                again = self.call(account, age - 2.5, [message])
                self.settle(again, 0, message, "done", why)
        return call


def told() -> Story:
    """From yesterday until a moment ago, in the order of time: ids grow as they do."""
    story = Story()
    for day, wrong in ((6, {2: REFUSED, 5: FORBIDDEN}), (5, {7: FORBIDDEN}), (3, {0: REFUSED, 1: EXPIRED, 8: EXPIRED})):
        story.deliver("default", day * 24 * HOUR, 24, {at: ("failed", why) for at, why in wrong.items()})
    for hour in range(23, 0, -1):
        for part in range(6):
            why = {(19, 2): REFUSED, (11, 0): FORBIDDEN, (7, 4): REFUSED, (3, 1): EXPIRED}.get((hour, part))
            wrong = {3: ("failed", why)} if why else {}
            story.deliver(list(SELLERS)[part % 3], hour * HOUR + part * 500, 12 + (hour * 5 + part * 7) % 24, wrong)
    for minute in range(59, 0, -1):
        age = minute * MINUTE
        if minute == 14:
            _three_calls(story, age)
        if minute == 8:
            wrong = {17: ("failed", REFUSED), 31: ("failed", REFUSED), 42: ("retry", BUSY)}
            story.fifty = story.deliver("default", age + 30, 50, wrong)
        for account in SELLERS if minute % 2 else ("default", "haitang"):
            if account != "chunfeng" or age > PAUSED_SINCE:
                story.deliver(account, age + 5, 16 + (minute * 11 + len(account)) % 21, {})
    for number in range(148):
        story.message("chunfeng", PAUSED_SINCE - 6 - number * 10)
    return story


def _three_calls(story: Story, age: float) -> None:
    """A message that no answer came for, that was refused for a moment, and that got through."""
    message, others = story.message("haitang", age + 40), [story.message("haitang", age + 39) for _ in range(6)]
    story.thrice = message["id"]
    sent = [*others[:3], message, *others[3:]]
    cut = story.call(
        "haitang", age + 38, sent, outcome="unknown", http_status=None, request_id=None, duration_ms=15_000,
        error_code="relay.timeout", error_message="no answer within 15 s",
    )  # fmt: skip
    for index, one in enumerate(sent):
        story.settle(cut, index, one, "unknown", ("relay.timeout", "no answer within 15 s"))
    busy = story.call("haitang", age + 21, sent, outcome="partial")
    for index, one in enumerate(sent):
        story.settle(busy, index, one, *(("retry", BUSY) if one is message else ("done", BUSY)))
    story.settle(story.call("haitang", age + 18, [message]), 0, message, "done", BUSY)


def fill(engine: Engine) -> Story:
    """Into a database that has the tables and nothing in them."""
    story = told()
    with engine.begin() as connection:
        for said, rows in ((_CALLS, story.calls), (_MESSAGES, story.messages), (_ATTEMPTS, story.attempts)):
            given = {"rows": json.dumps(rows)} | ({"topic": TOPIC} if ":topic" in said else {})
            connection.execute(text(said), given)
        for said in _REST.split(";\n"):
            connection.exec_driver_sql(said)
        story.now = connection.exec_driver_sql("select now()").scalar_one()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("analyze")
    return story
