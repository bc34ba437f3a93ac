"""The sum that must add up after any run with faults: what was committed, what ended, what the platform holds."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.acceptance.outbox import Outbox


def assert_ledger(outbox: Outbox, accepted: list[str], refused: set[int]) -> None:
    """``accepted``: contents in the order the platform stored them; ``refused``: tids it must have refused for good.

    Every content is an object with a unique ``tid``.
    """
    rows = outbox.select(
        "select (content->>'tid')::bigint, id, status, ordering_key, error_code, attempts from relay.outbox"
    )
    by_tid = {row[0]: row for row in rows}
    stored = Counter(int(json.loads(content)["tid"]) for content in accepted)
    assert {row[2] for row in rows} <= {"done", "failed"}, "something is still pending"
    failed = {tid for tid, row in by_tid.items() if row[2] == "failed"}
    assert failed == refused, f"failed beyond the refused ones: {_some(by_tid, failed ^ refused)}"
    assert {tid for tid, row in by_tid.items() if row[2] == "done"} <= stored.keys(), "done, but never stored"
    unknown = outbox.attempts("unknown")
    unexplained = {tid for tid, times in stored.items() if times - 1 > unknown.get(by_tid[tid][1], 0)}
    assert not unexplained, f"stored twice and no unknown attempt says why: {_some(by_tid, unexplained)}"
    assert outbox.open_calls() == 0
    _assert_order(by_tid, accepted)


def _assert_order(by_tid: dict[int, Any], accepted: list[str]) -> None:
    last: dict[str, int] = {}
    seen: set[int] = set()
    for content in accepted:
        tid = int(json.loads(content)["tid"])
        _, id_, _, key, _, _ = by_tid[tid]
        if key is None or tid in seen:
            continue
        seen.add(tid)
        assert last.get(key, 0) < id_, f"key {key}: message {id_} was accepted first after {last[key]}"
        last[key] = id_


def _some(by_tid: dict[int, Any], tids: set[int]) -> list[Any]:
    return [by_tid[tid] for tid in sorted(tids)[:5]]
