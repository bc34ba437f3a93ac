"""What an event says to a person at a terminal: one sentence, from the fields that a line of JSON has under its keys.

2026-11-11 09:30:00 info    call 7 of shop: ok, 2 done in 31 ms, request 16d8x
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_Told = Mapping[str, Any]


def sentence(event: str, fields: _Told) -> str:
    """Of an event that is not known here: its name and its fields, as they are."""
    tell = _SENTENCES.get(event)
    if tell is None:
        return " ".join([event, *(f"{name}={value}" for name, value in fields.items())])
    return tell(fields)


def _started(told: _Told) -> str:
    where = f" to {told['platform']}" if "platform" in told else ""
    parts = [
        f"worker {told['worker']} started",
        f"relay {told['version']}" if "version" in told else "",
        f"producer {told['producer']}{where}",
        f"{_count(told['concurrency'], 'call')} at once",
        f"PostgreSQL {told['postgresql']} {_place(told['database'])}" if "postgresql" in told else "",
        f"schema {told['schema']}" if "schema" in told else "",
        f"metrics and probes on {told['metrics']}" if "metrics" in told else "",
    ]
    return ", ".join(filter(None, parts))


def _place(database: str) -> str:
    return database if database.startswith(("on ", "as ")) else f"at {database}"


def _claimed(told: _Told) -> str:
    late = f", {told['expired']} past deliver_before" if told["expired"] else ""
    what = f"{_count(told['messages'], 'message')} in {_count(told['calls'], 'call')}"
    return f"claimed {what}{late}, in {told['seconds'] * 1000:.0f} ms"


def _call(told: _Told) -> str:
    counts = ", ".join(
        f"{told[name]} {word}"
        for name, word in (
            *(("done", "done"), ("retry", "again later"), ("failed", "failed")),
            *(("unknown", "unknown"), ("split", "split")),
        )
        if told[name]
    )
    parts = [
        f"call {told['call_id']} of {told['account']}: {told['outcome']}",
        (counts or _count(told["messages"], "message"))
        + (f" in {told['duration_ms']} ms" if _has(told, "duration_ms") else ""),
        f"HTTP {told['http_status']}" if told.get("http_status") not in (None, 200) else "",
        " ".join(str(told[name]) for name in ("error_code", "sub_code", "error_message") if _has(told, name)),
        f"request {told['request_id']}" if _has(told, "request_id") else "",
    ]
    return ", ".join(filter(None, parts))


def _refused_call(told: _Told) -> str:
    what = f"what became of call {told['call_id']} of {told['account']} ({_count(told['messages'], 'message')})"
    return f"{what} cannot be written down: {told['error']}; again in {told['again_in_seconds']:g} s"


def _paused(told: _Told) -> str:
    until = f"for {told['seconds']:.0f} s" if _has(told, "seconds") else "until it is resumed or has another credential"
    code = f" ({told['error_code']})" if _has(told, "error_code") else ""
    return f"{told['scope']}{_more(told)} is paused {until}: {told['reason']}{code}"


def _lost(told: _Told) -> str:
    return f"the database cannot be asked ({told['stage']}): {told['error']}"


def _refused(told: _Told) -> str:
    call = f", call {told['call_id']}" if _has(told, "call_id") else ""
    return f"PostgreSQL refuses a statement ({told['stage']}{call}): {told['error']}"


def _archived(told: _Told) -> str:
    moved = (_count(told[name], name[:-1]) for name in ("messages", "attempts", "calls"))
    return f"archived {', '.join(moved)}"


def _stopping(told: _Told) -> str:
    flying = _count(told["calls_in_flight"], "call")
    return f"stopping: {flying} in flight may take {told['grace_seconds']:g} s to land"


def _stopped(told: _Told) -> str:
    return f"stopped after {_count(told['calls'], 'call')}: {told['done']} done, {told['failed']} failed"


_SENTENCES: dict[str, Callable[[_Told], str]] = {
    "worker.started": _started,
    "warning": lambda told: str(told["reason"]),
    "wakeup.unavailable": lambda told: f"inserts cannot wake this worker, so it polls: {told['reason']}",
    "claim": _claimed,
    "call": _call,
    "call.lost": lambda told: f"call {told['call_id']} was settled by another worker: its lease had run out",
    "call.refused": _refused_call,
    "message.unreadable": lambda told: f"message {told['message_id']} cannot be read, and failed: {told['error']}",
    "lease.recovered": lambda told: (
        f"{_count(told['calls'], 'call')} of a worker that is gone, now unknown: {_count(told['messages'], 'message')}"
    ),
    "paused": _paused,
    "pause.lifted": lambda told: f"{told['scope']}{_more(told)} is not paused any more",
    "accounts.troubled": lambda told: f"credentials: {told['error']}",
    "accounts.mended": lambda _told: "credentials: every source is of use again",
    "database.lost": _lost,
    "database.refused": _refused,
    "locks.taken": lambda told: f"a stranger holds locks that inserts or claims wait for: {told['holder']}",
    "locks.seen": lambda told: (
        f"{_count(told['sessions'], 'session')} and {_count(told['prepared'], 'prepared transaction')} "
        "may keep messages from being sent"
    ),
    "producer.raised": lambda told: f"in call {told['call_id']} {told['error']}, {' > '.join(told['frames'])}",
    "producer.failed": lambda told: f"the producer {told['error']} in call {told['call_id']}, which is unknown now",
    "archived": _archived,
    "archiving.failed": lambda told: f"a round of archiving ended early: {told['error']}",
    "worker.stopping": _stopping,
    "worker.stopped": _stopped,
    "log.lost": lambda told: f"{_count(told['lines'], 'line')} of this log lost: {told['reason']}",
}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _has(told: _Told, name: str) -> bool:
    return told.get(name) is not None


def _more(told: _Told) -> str:
    return f" and {told['more']} more" if told.get("more") else ""
