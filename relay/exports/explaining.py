"""What may differ between two exports of one period although nobody tampered. Pure, but for the ledger it asks.

A message that had not ended in the older export goes on; ends are final, but for what the ledger of the newer export
names. All that a message was inserted with, its deliveries, settled calls and the ledger itself never change. An
explanation is as good as the ledger it stands in: it names the act, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from relay.exports.ledger import Excuse, Ledger
from relay.exports.reading import ExportedRow

# A transaction bears the time of its begin; the relay's own are over in milliseconds.
GRACE = timedelta(minutes=1)

_TOMBSTONE = {"redacted": True}
_REMOVED = {"content", "content_characters", "traceparent"}
_MASKED = {"content", "error_message", "reason"}
_STATE = {
    "status", "attempts", "available_at", "held", "finished_at", "latency_seconds", "call_id", "result_index",
    "request_id", "error_code", "error_message",
}  # fmt: skip
_CLOSED = {"error_code", "error_message"}
_WHAT_CAME = {
    "unknown_outcomes", "last_unknown_at", "unknown_call_ids", "what_came_of_it", "finished_at", "final_call_id",
    "final_request_id",
}  # fmt: skip
_NOT_ENDED = ("will be sent again", "held for a person")
_OPEN_CALL = {
    "messages", "message_ids", "lease_until", "sent_at", "settled_at", "outcome", "http_status", "request_id",
    "error_code", "sub_code", "error_message", "request_bytes", "duration_ms",
}  # fmt: skip


def _but_hashes(act: ExportedRow) -> dict[str, Any]:
    """What a redaction says beside the hashes of what it removed, which got a salt as well."""
    facts = act.facts("selection")
    hashed = facts.pop("sha256", None) or facts.pop("salted_sha256", None) or {}
    named = hashed.items() if isinstance(hashed, dict) else ()
    return {**facts, "hashed": sorted((id_, sorted(parts)) for id_, parts in named)}


@dataclass(frozen=True, slots=True)
class Explanations:
    """``seen_at``: when the older export looked; ``running``: the transactions that were not yet committed then."""

    ledger: Ledger
    seen_at: datetime
    running: frozenset[int]

    def missing(self, view: str, row: ExportedRow) -> Excuse | None:
        """Why a row of the older export is not in the newer one."""
        match view:
            case "audit_message":
                return self.ledger.removed(row.number("id"), row.moment("finished_at"))
            case "audit_delivery" | "audit_possible_duplicate":
                return self.ledger.removed(row.number("message_id"), None)
            case "audit_call":
                return self.ledger.removed_call(row.moment("settled_at"), row.numbers("message_ids"))
        return None

    def added(self, row: ExportedRow, time: datetime | None) -> Excuse | None:
        """Why a row is of a time at which the older export did not see it."""
        if row.number("created_xid") in self.running:
            return Excuse("its transaction was not committed yet")
        if time is not None and time >= self.seen_at - GRACE:
            return Excuse("it was just being committed")
        return None

    def changed(
        self, view: str, old: ExportedRow, new: ExportedRow, columns: Iterable[str]
    ) -> tuple[set[str], Excuse | None]:
        """The columns that nothing explains, and what explains the others."""
        left, last = set(columns), None
        for explained, of in self._reasons(view, old, new):
            if explained is not None and left & of:
                left, last = left - of, explained
        return left, last

    def _reasons(self, view: str, old: ExportedRow, new: ExportedRow) -> Iterable[tuple[Excuse | None, set[str]]]:
        if view == "audit_message":
            id_ = old.number("id")
            if new.facts("content") == _TOMBSTONE:
                yield self.ledger.named(id_, "redact"), _REMOVED
            if old.text("content_sha256") is None:
                yield Excuse("its hash got a salt"), {"content_sha256"}
            yield self.ledger.salted(id_, "outbox", "archive"), {"content_sha256"}
            yield self._went_on(old.text("status") == "pending", new.moment("finished_at")), _STATE
            if old.text("status") == "pending":  # by an act that was not committed yet, and bears an earlier time
                yield self.ledger.named(id_, "discard"), _STATE
            if old.text("status") == "failed":
                yield self.ledger.named(id_, "retry"), _STATE
                yield self.ledger.named(id_, "discard"), _CLOSED
        elif view == "audit_possible_duplicate":
            open_then = old.text("what_came_of_it") in _NOT_ENDED
            yield self._went_on(open_then, new.moment("finished_at")), _WHAT_CAME
            if old.text("final_request_id") is None or "accepted" not in (old.text("what_came_of_it") or ""):
                yield self.ledger.named(old.number("message_id"), "retry"), _WHAT_CAME
                ended = {"finished_at"} if open_then else set()
                yield self.ledger.named(old.number("message_id"), "discard"), {"what_came_of_it", *ended}
        elif view == "audit_action" and _but_hashes(old) == _but_hashes(new):
            yield self.ledger.salted(old.number("id"), "ledger"), {"selection"}
        elif view == "audit_call":
            yield self._went_on(old.text("settled_at") is None, new.moment("settled_at")), _OPEN_CALL
        yield self.ledger.any("mask"), _MASKED

    def _went_on(self, was_open: bool, ended: datetime | None) -> Excuse | None:
        """What was open ends later than that, if nobody else ended it."""
        if was_open and (ended is None or ended >= self.seen_at - GRACE):
            return Excuse("it had not ended")
        return None
