"""What the store takes and gives, as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from relay.message import Batch, CallKey, Message


class CallLimits(NamedTuple):
    """What a call of one account may carry: ``batch_size`` messages, ``max_bytes`` together, one destination.

    ``destination`` None: all messages of the account go together; ``wire_size`` None: ``Message.size_bytes`` counts.
    """

    batch_size: int
    max_bytes: int
    destination: Callable[[Message], Hashable] | None = None
    wire_size: Callable[[Message], int] | None = None


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """How much one claim may take: ``slots`` calls of ``batch_size`` messages and ``max_bytes`` each.

    ``of_a_call``: how much less that is for an account, where not all are produced alike. None: for all the same.
    A batch that is not full is left alone until its oldest message has been due for ``linger_seconds``. Accounts in
    ``skip_accounts`` are left alone altogether. ``failed_holds``: a failed message holds its ordering key.
    ``acquainted``: the accounts that have credentials, as far as is known; no call is named for any other. None: all.
    """

    slots: int
    batch_size: int = 50
    max_bytes: int = 512 * 1024
    skip_accounts: tuple[str, ...] = ()
    linger_seconds: float = 0.0
    failed_holds: bool = False
    acquainted: Collection[str] | None = None
    of_a_call: Callable[[str], CallLimits] | None = None

    def of(self, account: str) -> CallLimits:
        """How much a call of this account may carry."""
        return CallLimits(self.batch_size, self.max_bytes) if self.of_a_call is None else self.of_a_call(account)


@dataclass(frozen=True, slots=True)
class Claim:
    """What was claimed. ``exhausted``: nothing was found, everywhere or often enough to wait for the next poll.

    ``everywhere``: there was no account or ordering key with something pending that this claim did not look at.
    ``unmet``: accounts with something pending that are not paused, of which it is not known whether they have
    credentials.
    """

    batches: tuple[Batch, ...]
    expired: int
    exhausted: bool
    everywhere: bool
    unmet: frozenset[str] = frozenset()

    @property
    def messages(self) -> int:
        """How many messages the calls have together."""
        return sum(len(batch) for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force. ``seconds_left`` None: until a person resumes it, or another credential."""

    scope: str
    seconds_left: float | None
    reason: str
    error_code: str | None
    fingerprint: str | None  # of the credential that the platform refused


@dataclass(frozen=True, slots=True)
class Settled:
    """``lost``: calls that another worker had settled. ``children``: halves of split calls, claimed for this worker."""

    lost: frozenset[CallKey]
    children: tuple[Batch, ...]
