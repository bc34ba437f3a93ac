"""What explains a difference between two exports, and for how many columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from relay.exports.explaining import Explanations
from relay.exports.ledger import read
from relay.exports.reading import ExportedRow

SEEN = datetime(2026, 11, 11, tzinfo=UTC)


def row(values: dict[str, object]) -> ExportedRow:
    """As a line of JSON has it."""
    return ExportedRow(
        {name: None if value is None else json.dumps(value) for name, value in values.items()}, json=True
    )


def act(id_: int, action: str, minutes: int, **more: object) -> ExportedRow:
    at = f"{SEEN + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S.%fZ}"
    return row({"id": id_, "action": action, "at": at, **more})


def test_an_act_explains_what_it_may_change_and_only_if_it_came_later() -> None:
    acts = [act(1, "retry", -9, message_ids=[7]), act(2, "mask", 9), act(3, "discard", 9, message_ids=[8])]
    with read(acts, SEEN, timedelta(minutes=1)) as ledger:
        explanations = Explanations(ledger, SEEN, frozenset())
        failed, now = row({"id": 7, "status": "failed", "content_sha256": None}), row({"id": 7, "status": "pending"})
        assert explanations.changed("audit_message", failed, now, ["status"]) == ({"status"}, None)
        left, explained = explanations.changed("audit_message", failed, now, ["content", "content_sha256"])
        assert (left, str(explained)) == (set(), "mask, act 2 of the ledger")
        other = row({"id": 8, "status": "failed", "content_sha256": "00"})
        left, _ = explanations.changed("audit_message", other, now, ["error_code", "finished_at", "content_sha256"])
        assert left == {"finished_at", "content_sha256"}


def test_an_act_that_was_not_yet_committed_explains_although_it_bears_an_earlier_time() -> None:
    early = [act(1, "discard", -9, message_ids=[7], created_xid=70), act(2, "discard", -9, message_ids=[8])]
    with read(early, SEEN, timedelta(minutes=1), frozenset((70,))) as ledger:
        explanations = Explanations(ledger, SEEN, frozenset((70,)))
        ended = ExportedRow({"status": "failed", "finished_at": "2026-11-10T23:51:00.000000Z"})
        for id_, left in ((7, set()), (8, {"status", "finished_at"})):
            pending = ExportedRow({"id": id_, "status": "pending", "content_sha256": "00"})
            found, _ = explanations.changed("audit_message", pending, ended, ["status", "finished_at"])
            assert found == left
            unclear = ExportedRow({"message_id": id_, "what_came_of_it": "held for a person"})
            found, _ = explanations.changed("audit_possible_duplicate", unclear, ended, ["finished_at"])
            assert found == left & {"finished_at"}


def test_a_dropped_month_explains_what_ended_in_it() -> None:
    month = {"month": "2026-10", "first_id": 5, "last_id": 9}
    with read([act(1, "drop", 9, selection=month)], SEEN, timedelta(minutes=1)) as ledger:
        explanations = Explanations(ledger, SEEN, frozenset())

        def missing(id_: int, finished_at: str) -> str:
            return str(explanations.missing("audit_message", row({"id": id_, "finished_at": finished_at})))

        assert missing(5, "2026-10-31T23:59:59.000000Z") == "drop, act 1 of the ledger"
        assert missing(5, "2026-11-01T00:00:00.000000Z") == "None"
        assert missing(4, "2026-10-31T23:59:59.000000Z") == "None"
        call = row({"id": 1, "settled_at": "2026-10-31T00:00:00.000000Z", "message_ids": [5, 9]})
        assert str(explanations.missing("audit_call", call)) == "drop, act 1 of the ledger"
        call = row({"id": 1, "settled_at": "2026-10-31T00:00:00.000000Z", "message_ids": [5, 10]})
        assert explanations.missing("audit_call", call) is None
