"""The values that travel between the rooms: a message, a batch, and what a producer answered.

Everything here is frozen and knows neither SQL nor HTTP nor clocks. The life of one batch in these words:

    Batch ── produce ──> Answered   one Result for every index, in the order sent
                    └──> Refused    the whole call, for one reason (a Fault)

What an answer *means* for each message (done, again later, failed, nobody knows) is decided in ``outcomes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What one call meant for one message. Stored in ``relay.attempt.outcome`` (all but ``done``)."""

    DONE = "done"
    RETRY = "retry"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Fault(StrEnum):
    """Why a call, or one index of it, was not accepted. Each fault has one policy in ``outcomes.py``."""

    MESSAGE = "message"  # this message is refused; its neighbours are not concerned
    CONTENT = "content"  # the batch is refused for what is in it, the platform does not say which
    PROVIDER = "provider"  # the platform is down or says so; certainly nothing was accepted
    THROTTLED = "throttled"  # too many calls; nothing was accepted
    CREDENTIALS = "credentials"  # session, app key, secret or permission; nothing was accepted
    OURS = "ours"  # the request itself is wrong: a bug here, or a host clock that is off
    UNKNOWN = "unknown"  # nobody can tell whether the platform accepted it


class Scope(StrEnum):
    """Whom a throttle or a credential fault concerns, and therefore what is paused."""

    ACCOUNT = "account"
    APP = "app"


class Message(NamedTuple):
    """One claimed row of the outbox. ``content`` and ``json_ex_content`` are the exact JSON texts stored.

    A tuple, because there are more of them than of anything else, and a frozen dataclass takes three times as long.
    """

    id: int
    topic: str
    content: str
    account: str = "default"
    target_group: str | None = None
    target_app_key: str | None = None
    json_ex_content: str | None = None
    ordering_key: str | None = None
    attempts: int = 0
    deliver_before: float | None = None  # seconds since the epoch, by the database's clock

    @property
    def size_bytes(self) -> int:
        """UTF-8 bytes of the texts this message adds to a call, before any encoding of the wire."""
        size = _bytes(self.content) + _bytes(self.topic)
        for text in (self.json_ex_content, self.target_group, self.target_app_key):
            size += _bytes(text) if text else 0
        return size


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())  # CPython keeps a flag for ASCII: no scan


class CallKey(NamedTuple):
    """Which call: its id, and the nonce that the worker drew for it.

    The id alone does not tell. A database that goes back in time (a standby that was behind takes over, a backup is
    restored) gives ids out again, and then another call has the id of one that is still in flight here.
    """

    id: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one call, in the order sent: the result index is the position in ``messages``."""

    call_id: int
    account: str
    messages: tuple[Message, ...]
    nonce: int = 0
    key: CallKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """``key``: the id and the nonce of its call, which together name it also after a restore; asked for often."""
        object.__setattr__(self, "key", CallKey(self.call_id, self.nonce))

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True, slots=True)
class Result:
    """What the platform said about one index. ``fault`` is None when, and only when, it accepted the message."""

    fault: Fault | None = None
    code: str | None = None
    message: str | None = None
    pause_seconds: float | None = None  # with THROTTLED and OURS: how long it is no use to call again
    scope: Scope = Scope.ACCOUNT  # whom it concerns, where it is not the message itself

    @property
    def accepted(self) -> bool:
        """Whether the far end has the message now."""
        return self.fault is None


ACCEPTED = Result()


@dataclass(frozen=True, slots=True)
class Answered:
    """The platform answered for the batch: ``results[i]`` belongs to ``batch.messages[i]``, and the lengths are equal.

    ``violation`` names in a few words how the answer broke the platform's own contract (None when it did not).
    """

    results: tuple[Result, ...]
    request_id: str | None = None
    http_status: int | None = None
    request_bytes: int = 0
    violation: str | None = None
    app_key: str | None = None  # as in Refused; needed only where a result blames the credential
    credential: str | None = None

    @property
    def blames_no_message(self) -> bool:
        """Nothing was accepted, nothing refused for its own sake: a refusal of the whole call in the form of a list."""
        return not any(result.fault in (None, Fault.MESSAGE, Fault.CONTENT) for result in self.results)

    @property
    def is_trouble(self) -> bool:
        """As if the platform had not answered: it blames no message, and it failed, or nobody can tell."""
        if not self.blames_no_message:  # first: the first message that was accepted ends the look
            return False
        return any(result.fault in (Fault.PROVIDER, Fault.UNKNOWN) for result in self.results)


@dataclass(frozen=True, slots=True)
class Refused:
    """The whole call came to nothing, for one reason. With ``Fault.UNKNOWN`` it may have been accepted all the same."""

    fault: Fault
    code: str | None = None
    sub_code: str | None = None
    message: str | None = None
    request_id: str | None = None
    http_status: int | None = None
    request_bytes: int = 0
    scope: Scope = Scope.ACCOUNT
    pause_seconds: float | None = None  # None: no time was named
    app_key: str | None = None  # whose credential was used, and its fingerprint (never the secret)
    credential: str | None = None


Answer = Answered | Refused


NO_CREDENTIALS = "relay.no_credentials"
# Why a message, or a pause, is left alone that somebody looked at; the functions of the database say it so.
CHANGED_SINCE = "it has changed since you looked"


def no_credentials(account: str) -> Refused:
    """What is said in the place of an answer where there is nothing to make the call with."""
    message = f"no app key and secret are configured for the account {account!r}"
    return Refused(Fault.CREDENTIALS, NO_CREDENTIALS, message=message, scope=Scope.ACCOUNT)
