"""Which producer makes the calls of an account, and how much each of them takes at the moment.

    account ── its own route ──> a lane of that route       opened when the first of its accounts turns up
            └─ none ───────────> the lane of the settings   opened when the worker starts

Whoever cuts, launches or makes a call keeps to the lanes as they were when it was claimed: what goes another way
meanwhile is given back. Trouble in one lane (its gate is closed, its producer cannot be opened) holds up no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from relay.errors import RelayError
from relay.message import Answer, Batch
from relay.producers import Producer
from relay.store import CallLimits
from relay.worker.limits import Limits
from relay.worker.tasks import within

_OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 2.0  # a farewell is no reason to stay
_AGAIN_SECONDS = 5.0  # between two attempts to open a producer


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Route:
    """Where the messages of some accounts go. ``fingerprint`` tells two routes apart, and gives nothing away.

    ``name``: of the producer, as the settings call it.
    """

    producer: Producer
    batch_size: int
    fingerprint: str = ""
    name: str = ""


class Routing(Protocol):
    """Answers at once, from what was looked up last."""

    def route(self, account: str) -> Route | None:
        """Its own way; None: that of the settings. The same object for all accounts that agree."""
        ...

    def lost(self, account: str) -> str | None:
        """Why nobody knows where its messages go, without secrets; None: that is known."""
        ...


class OneWay:
    """Where all accounts go the same way."""

    def route(self, account: str) -> Route | None:
        return None

    def lost(self, account: str) -> str | None:
        return None


@dataclass(slots=True, eq=False)
class Lane:
    """A producer that is open, what it takes at the moment, how many calls it is making, and for whom."""

    producer: Producer
    limits: Limits
    running: int = 0
    accounts: int = 0
    name: str = ""  # of the producer, as the settings call it

    @property
    def messaging_system(self) -> str:
        """How traces call what it sends to: as the producer says, else its name."""
        return str(getattr(self.producer, "messaging_system", self.name))

    @property
    def has_room(self) -> bool:
        """Whether it takes another call now."""
        return self.running < self.limits.calls


@dataclass(slots=True)
class _Shut:
    """A route whose producer cannot be opened: why, and when that is tried again."""

    reason: str
    until_monotonic: float


class Lanes:
    """``default`` is that of the settings, ``make`` makes the limits of another one. Belongs to one event loop."""

    def __init__(
        self, default: Lane, routing: Routing | None = None, make: Callable[[Route], Limits] | None = None
    ) -> None:
        self.default = default
        self.by_account: Mapping[str, Lane] = {}  # never changed, but for another one
        self.trouble: str | None = None
        self._routing = routing or OneWay()
        self._make = make
        self._by_route: dict[Route, Lane] = {}
        self._shut: WeakKeyDictionary[Route, _Shut] = WeakKeyDictionary()
        self._shut_out: dict[str, str] = {}  # account → why
        self._directing = asyncio.Lock()

    @property
    def slots(self) -> int:
        """Room for calls in flight in this process, whatever the lanes take."""
        return self.default.limits.slots

    @property
    def calls(self) -> int:
        """How many calls may be in flight now, in all lanes together."""
        calls = 0
        for lane in self._all():
            calls += lane.limits.calls
            if calls >= self.slots:
                return self.slots
        return calls

    def of(self, account: str) -> Lane:
        """That of its route as it was heeded last, else that of the settings."""
        return self.by_account.get(account, self.default)

    def lost(self, account: str) -> str | None:
        """Why nothing can be sent for it, whoever pays; None: something can."""
        return self._shut_out.get(account) or self._routing.lost(account)

    def may_send(self, account: str, lane: Lane) -> bool:
        """Whether what was claimed for this lane still belongs there, and it takes another call."""
        return lane.has_room and self.of(account) is lane

    def full(self, met: Collection[str]) -> list[str]:
        """Of the accounts that were met, those whose lane takes no call now while another one does."""
        if not self._by_route:
            return []
        full = [lane for lane in self._all() if not lane.has_room]
        if not full or len(full) > len(self._by_route):
            return []
        return [account for account in (met if self.default in full else self.by_account) if self.of(account) in full]

    def messages(self) -> int:
        """How many a call may carry that may carry most."""
        return max(lane.limits.messages for lane in self._all())

    def learn(self, lane: Lane, batch: Batch, answer: Answer, seconds: float) -> None:
        """What this answer says about its lane, and how long calls take."""
        lane.limits.learn(batch, answer, seconds)
        if lane is not self.default:
            self.default.limits.flown(seconds)  # by it the slots of a claim are counted, for all together

    def limits(self) -> Callable[[str], CallLimits] | None:
        """Of the calls of an account, as things are now; None: all alike."""
        if not self._by_route and self.default.limits.alike:
            return None
        lanes, default = self.by_account, self.default
        return lambda account: lanes.get(account, default).limits.of_a_call()

    async def direct(self, accounts: Iterable[str]) -> None:
        """Heed the routes of accounts that were just looked up, and open what has to be opened for them."""
        ways = {account: self._routing.route(account) for account in accounts}
        if any(ways.values()) or self.by_account or self._shut_out:
            async with self._directing:
                await self._direct(ways)

    async def _direct(self, ways: Mapping[str, Route | None]) -> None:
        changed: dict[str, Lane] = {}
        for account, route in ways.items():
            lane = self.default if route is None else await self._opened(route)
            if lane is None:
                assert route is not None
                self._shut_out[account] = self._shut[route].reason
                continue
            self._shut_out.pop(account, None)
            if self.of(account) is not lane:
                changed[account] = lane
        self.trouble = next(iter(self._shut_out.values()), None)
        if changed:
            await self._change(changed)

    async def _change(self, changed: Mapping[str, Lane]) -> None:
        for account, lane in changed.items():
            self.of(account).accounts -= 1
            lane.accounts += 1
        self.by_account = {
            account: lane for account, lane in {**self.by_account, **changed}.items() if lane is not self.default
        }
        for route, lane in list(self._by_route.items()):
            if lane.accounts <= 0 and not lane.running:
                del self._by_route[route]
                await _close(lane)

    async def _opened(self, route: Route) -> Lane | None:
        if lane := self._by_route.get(route):
            return lane
        shut = self._shut.get(route)
        if shut and time.monotonic() < shut.until_monotonic:
            return None
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await route.producer.open()
        except Exception as error:  # a producer may be anybody's
            reason = str(error) if isinstance(error, RelayError) else f"its producer raised {type(error).__name__}"
            self._shut[route] = _Shut(reason, time.monotonic() + _AGAIN_SECONDS)
            return None
        assert self._make is not None
        lane = self._by_route[route] = Lane(route.producer, self._make(route), name=route.name)
        return lane

    async def close(self) -> None:
        """Close the producers of all lanes that are open; what they raise is no matter any more."""
        await asyncio.gather(*map(_close, self._all()))

    def _all(self) -> Iterator[Lane]:
        yield self.default
        yield from self._by_route.values()


async def _close(lane: Lane) -> None:
    with suppress(Exception):  # of whatever kind: its calls have ended, and others are to be closed
        await within(_CLOSE_SECONDS, lane.producer.close())
