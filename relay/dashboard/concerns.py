"""What page one says: is anything stuck, since when, why, and what to press. A function of what the reports found.

A concern has the name of the check of ``relay check`` that warns of the same, and the same bounds; only those are here
whose look-up is cheap. The sentences are in ``languages/``: ``concern.NAME`` and ``press.NAME``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.checks.backlog import FAR_SECONDS, LAPSED_SECONDS, OLD_SECONDS, explains_all, is_old
from relay.dashboard.visit import command
from relay.reports import (
    DISCARDED,
    MOST_COUNTED,
    BlockedKeys,
    FailedHeads,
    FailureCount,
    OpenCalls,
    PauseListed,
    PutOffPace,
    Status,
)

__all__ = ["FAR_SECONDS", "LAPSED_SECONDS", "OLD_SECONDS", "Concern", "Situation", "concerns", "is_old"]

STUCK, LOOK = "stuck", "look"
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Situation:
    """What the reports found at one moment, ``now`` of the database."""

    now: datetime
    status: Status
    open_calls: OpenCalls
    blocked: BlockedKeys
    failures: Sequence[FailureCount]
    put_off: Sequence[PutOffPace]
    ages: Sequence[int] = ()
    failed_heads: FailedHeads | None = None  # asked only where the backlog is old

    @property
    def unwanted(self) -> tuple[FailureCount, ...]:
        """The failures, but for what a person discarded."""
        return tuple(code for code in self.failures if code.error_code != DISCARDED)

    @property
    def failed_hour(self) -> int:
        """How many of those failed within an hour; the least there can be, unless ``failed_hour_exact``."""
        return sum(code.hour for code in self.unwanted)

    @property
    def failed_hour_exact(self) -> bool:
        """Whether all that failed was looked at; what was discarded need not be."""
        return not (self.status.failed_other_codes or any(code.bounded for code in self.unwanted))


@dataclass(frozen=True, slots=True)
class Press:
    """What a person who may act would do about it: the verb, and what its preview is asked."""

    verb: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Concern:
    """``level``: ``stuck``, nothing goes on by itself; ``look``, a person should. ``link``: path and query of the list.

    ``command``: what to type where pressing is not enough. ``code``: one that ``relay explain`` knows.
    ``acts``: what a page offers to whoever may.
    """

    name: str
    level: str
    values: Mapping[str, object] = field(default_factory=dict)
    since: datetime | None = None
    link: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    code: str | None = None
    acts: Sequence[Press] = ()


def concerns(known: Situation) -> tuple[Concern, ...]:
    """The worst first."""
    found = [*_stuck(known), *_waiting_for_a_person(known), *_worth_a_look(known)]
    return tuple(sorted(found, key=lambda one: one.level != STUCK))


def _stuck(known: Situation) -> Iterator[Concern]:
    status, calls = known.status, known.open_calls
    if status.trouble is not None:
        trouble = status.trouble
        said = {"calls": trouble.calls, "code": trouble.error_code, "message": trouble.error_message or "-"}
        yield Concern(
            "answers", STUCK, said, trouble.since, "/calls", command=_explain(trouble.error_code),
            code=trouble.error_code,
        )  # fmt: skip
    if calls.unsound is not None:
        yield Concern("unsound_calls", STUCK, {"call": calls.unsound}, None, f"/calls/{calls.unsound}")
    if calls.flood is not None:
        flood = {"calls": calls.flood.calls, "messages": calls.flood.messages, "login": calls.flood.login or "-"}
        yield Concern("too_many_calls", STUCK, flood, None, "/calls", {"state": "open"}, "relay check")
    if calls.lapsed:
        yield Concern(
            "open_calls", STUCK, {"calls": calls.lapsed}, calls.since, "/calls", {"state": "open"}, "relay run"
        )
    if is_old(status):
        yield from _backlog(known)
    for one in status.lingering:
        begun = None if one.seconds is None else known.now - timedelta(seconds=one.seconds)
        yield Concern("row_locks", STUCK, {"who": str(one), "remedy": one.remedy}, begun)


def _backlog(known: Situation) -> Iterator[Concern]:
    status, heads = known.status, known.failed_heads
    if heads is not None:
        yield _behind_failed(heads)
    if heads is None or not explains_all(heads, status):
        name, typed = ("backlog", "relay check") if status.workers else ("backlog_no_worker", "relay run")
        since = known.now - timedelta(seconds=status.oldest_free_seconds or 0)
        due = _told(status, status.due - status.due_paused - status.due_perhaps_paused)
        yield Concern(name, STUCK, {"due": due}, since, "/messages", {"state": "due"}, typed)


def _behind_failed(heads: FailedHeads) -> Concern:
    first, at_least = heads.first, "" if heads.exact else "≥ "
    said = {"keys": f"{at_least}{heads.keys:,}", "due": f"{at_least}{heads.due:,}", "id": first.id}
    asked = {"state": "failed", "account": heads.account, "key": heads.ordering_key}
    return Concern(
        "failed_heads", STUCK, said, first.finished_at, "/messages", asked, f"relay retry {first.id} --reason ...",
        code=first.error_code, acts=_both({"id": str(first.id)}),
    )  # fmt: skip


def _waiting_for_a_person(known: Situation) -> Iterator[Concern]:
    status = known.status
    for of_apps, due in ((True, status.due_perhaps_paused), (False, status.due_paused)):
        for ending, for_a_credential in (("_for_credentials", True), ("", False)):
            kind = (of_apps, for_a_credential)
            if pauses := [pause for pause in status.pauses if (pause.of_an_app, pause.for_a_credential) == kind]:
                # Who paused something knows that it waits; a credential that is refused nobody wanted.
                level = STUCK if for_a_credential and due else LOOK
                yield _paused(("app_pauses" if of_apps else "pauses") + ending, level, pauses, _told(status, due))
    if status.held:
        yield Concern(
            "held", LOOK, {"held": _told(status, status.held)}, None, "/messages", {"state": "held"},
            "relay retry ID --reason ...", acts=_both({"state": "held"}),
        )  # fmt: skip


def _paused(name: str, level: str, pauses: Sequence[PauseListed], due: int | str) -> Concern:
    first = min(pauses, key=lambda pause: pause.since)
    named = ", ".join(pause.scope for pause in pauses[:_MOST_NAMED])
    more = len(pauses) - _MOST_NAMED
    said = {"pauses": len(pauses), "named": named + (f" … +{more}" if more > 0 else ""), "why": first.reason}
    kind, _, scope = first.scope.partition(":")
    pressed = command("resume", **{kind: scope}, reason="...")
    resumes = [Press("resume", {"scope": pause.scope}) for pause in pauses[:_MOST_NAMED]]
    return Concern(
        name, level, {**said, "due": due}, first.since, "/pauses", command=pressed, code=first.error_code, acts=resumes
    )


def _both(query: Mapping[str, str]) -> tuple[Press, Press]:
    return Press("retry", query), Press("discard", query)


def _worth_a_look(known: Situation) -> Iterator[Concern]:
    status, blocked = known.status, known.blocked
    if not status.exact:  # what is stuck may be among the rest, so nobody may say that all is well
        yield Concern(
            "uncounted", LOOK, {"counted": f"{MOST_COUNTED:,}"}, None, "/messages", {"state": "due"}, "relay status"
        )
    if blocked.long:
        yield Concern(
            "blocked_keys",
            LOOK,
            {"keys": _told(status, blocked.long), "all": _told(status, blocked.blocked)},
            blocked.since,
            "/keys",
        )
    if hour := known.failed_hour:
        often = max(known.unwanted, key=lambda code: code.hour)
        said = {"failed": hour if known.failed_hour_exact else f"≥ {hour:,}", "code": often.error_code or "-"}
        yield Concern(
            "failed", LOOK, said, None, "/failures",
            command=_explain(often.error_code), code=often.error_code,
            acts=_both({"state": "failed", "code": often.error_code}) if often.error_code else (),
        )  # fmt: skip
    if status.far:
        year = status.farthest_due.isoformat().partition("-")[0] if status.farthest_due else "-"
        yield Concern(
            "due_times", LOOK, {"far": _told(status, status.far), "year": year}, None, "/messages", {"state": "waiting"}
        )
    for pace in known.put_off:
        yield Concern("pace", LOOK, {"tail": pace.tail, "login": pace.db_user or "-", "until": _utc(pace.next_at)})


def _told(status: Status, number: int) -> int | str:
    """Of messages that wait."""
    return number if status.exact else f"≥ {number:,}"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _explain(code: Any) -> str:
    return f"relay explain {code}" if code else ""
