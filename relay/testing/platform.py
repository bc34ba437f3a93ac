"""The platform of one test: what it answers is scripted, what arrived is kept, and it is the sandbox that plays it.

It is an object in the test's own process. While ``relay_drain`` runs, the relay's own producer reaches it over a socket
of this machine: what is tested is what production does, signature and reading of answers included.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.sandbox.answers import ProduceResult
from relay.sandbox.elements import MAX_ELEMENTS
from relay.sandbox.platform import Platform
from relay.sandbox.records import CallRecord
from relay.testing.matching import described, fitting, named, refuse_unknown, unmet

if TYPE_CHECKING:
    from relay.testing.matching import Asked


COMMITTED_ONLY = "a worker sees committed messages only, so commit before relay_drain()"


@dataclass(frozen=True, slots=True)
class ArrivedMessage:
    """A message that the platform accepted; JSON is read. ``index``: its place in the call, from 0."""

    topic: str
    content: Any
    target_group: str | None
    target_app_key: str | None
    json_ex_content: Any
    request_id: str
    index: int


class ScriptedPlatform:
    """Accepts everything, until told otherwise. ``sandbox`` is what plays it, for whatever is not here."""

    def __init__(self) -> None:
        self.sandbox = Platform()

    def answer(self, index: int, error_code: str, error_message: str = "", *, call: int | None = None) -> None:
        """Refuse the message at this index, from 0, of the next call, or of that call, counted from 1.

        ``isv.…`` is for good, ``isp.…`` is tried again. Raises ValueError for what no call can have: an index beyond
        the 50 messages of a call, a call that was made already, a code that is empty.
        """
        _refuse_impossible(index, error_code, call, made=len(self.calls))
        self.sandbox.script(index, ProduceResult(error_code, error_message), call=call)

    def unused(self) -> list[str]:
        """What was scripted by ``answer`` and never said, a sentence each; the fixture fails a test for it."""
        sizes = {record.number: record.count for record in self.calls}

        def why(call: int) -> str:
            return f"call {call} carried {sizes[call]}" if call in sizes else f"calls made: {len(sizes)}"

        return [
            f"relay_platform.answer({index}, ..., call={call}) was never said: {why(call)}"
            for call, index in self.sandbox.unused
        ]

    def fault(self, *faults: str) -> None:
        """Put these faults in place of those in force; none: it is well again. Calls (``@#2``) are counted from here.

        They are those of ``relay sandbox``: ``throttle=1@#1``, ``cut-after@#1``, ``timeout``, ``session-expired``, …
        Raises ConfigurationError with the nearest name there is.
        """
        self.sandbox.set_faults(faults)

    @property
    def calls(self) -> Sequence[CallRecord]:
        """Every call, the refused ones too."""
        return tuple(self.sandbox.calls)

    def arrived(self, topic: Asked | None = None) -> list[ArrivedMessage]:
        """What was accepted, in that order, a message as often as it was; of one topic (name or class), or all."""
        wanted = None if topic is None else named(topic)
        return [
            ArrivedMessage(
                each.topic,
                json.loads(each.content),
                each.target_group,
                each.target_app_key,
                each.json_ex_content and json.loads(each.json_ex_content),
                each.request_id,
                each.index,
            )
            for each in self.sandbox.messages
            if wanted in (None, each.topic)
        ]

    def assert_arrived(self, topic: Asked, *, times: int | None = None, **fields: Any) -> list[ArrivedMessage]:
        """The messages of this topic with these fields: one at least, or as many as ``times`` says.

        A mapping (``content={"tid": 1}``) may name less than there is.
        """
        __tracebackhide__ = True
        refuse_unknown(ArrivedMessage, fields)
        wanted, found = named(topic), self.arrived()
        met: list[ArrivedMessage] = fitting(found, wanted, fields)
        if not met if times is None else len(met) != times:
            unseen = "" if self.calls else f"\n  no call was made: {COMMITTED_ONLY}"
            raise AssertionError(unmet("accepted", found, wanted, fields, times, len(met)) + unseen)
        return met

    def assert_nothing_arrived(self, topic: Asked | None = None) -> None:
        """Of one topic, or at all."""
        __tracebackhide__ = True
        if found := self.arrived(topic):
            told = "\n".join(f"  {described(message)}" for message in found)
            raise AssertionError(f"no message was expected to be accepted, and there are\n{told}")


def _refuse_impossible(index: object, error_code: object, call: object, *, made: int) -> None:
    if not isinstance(index, int) or not 0 <= index < MAX_ELEMENTS:
        raise ValueError(f"{index!r} is no index of a call: they are 0 to {MAX_ELEMENTS - 1}")
    if not isinstance(error_code, str) or not error_code.strip():
        raise ValueError(f"{error_code!r} is no error code: name one, such as 'isv.trade-not-exist'")
    if call is not None and (not isinstance(call, int) or call <= made):
        raise ValueError(f"call={call!r} is no call to come: {made} were made, and they are counted from 1")
