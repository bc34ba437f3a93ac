"""Which of the ready messages go together: one account and one destination a batch, oldest first, within the limits
of one call.

Accounts take turns: every account gets its first batch before any gets a second.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from relay.message import Message
from relay.store.values import CallLimits


def cut_batches(
    ready: Sequence[tuple[int, Message]],
    *,
    slots: int,
    limits_of: Callable[[str], CallLimits],
    may_wait: AbstractSet[int] = frozenset(),
) -> tuple[list[list[Message]], str | None]:
    """Batches for at most ``slots`` calls, and the first account that got none for want of a slot (None: all did).

    ``ready`` holds (the account's place in the turn, message); ``limits_of`` says what a call of an account takes. A
    batch that is not full and holds only messages of ``may_wait`` (ids) is left for a later claim, which may find more
    to go with it.
    """
    by_account: dict[int, list[Message]] = {}
    for place, message in ready:
        by_account.setdefault(place, []).append(message)
    rounds: list[list[list[Message]]] = []
    for place in sorted(by_account):
        messages = sorted(by_account[place], key=lambda message: message.id)
        limits = limits_of(messages[0].account)
        if limits.destination is None and limits.wire_size is None:
            chunks = _chunks(messages, limits.batch_size, limits.max_bytes)
            if len(chunks[-1]) < limits.batch_size and all(message.id in may_wait for message in chunks[-1]):
                chunks.pop()
        else:
            chunks = sorted(_of_each_destination(messages, limits, may_wait), key=lambda chunk: chunk[0].id)
        for number, batch in enumerate(chunks):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(batch)
    batches = [batch for each in rounds for batch in each]
    left_out = batches[slots][0].account if rounds and len(rounds[0]) > slots else None
    return batches[:slots], left_out


def _of_each_destination(
    messages: Sequence[Message], limits: CallLimits, may_wait: AbstractSet[int]
) -> Iterator[list[Message]]:
    """The same for a producer that groups or measures by itself."""
    together: dict[Hashable, list[Message]] = {}
    for message in messages:
        together.setdefault(_destination(message, limits), []).append(message)
    for group in together.values():
        chunks: list[list[Message]] = []
        room = 0
        for message in group:
            size = _size(message, limits)
            if not chunks or len(chunks[-1]) == limits.batch_size or size > room:
                chunks.append([])
                room = limits.max_bytes
            chunks[-1].append(message)
            room -= size
        if len(chunks[-1]) < limits.batch_size and all(message.id in may_wait for message in chunks[-1]):
            chunks.pop()
        yield from chunks


def _destination(message: Message, limits: CallLimits) -> Hashable:
    try:
        destination = None if limits.destination is None else limits.destination(message)
        hash(destination)
    except Exception:  # a producer may be anybody's: what it cannot say it will hear when it is given the message
        return None
    return destination


def _size(message: Message, limits: CallLimits) -> int:
    """Of a message that its producer cannot measure: more than goes with another one."""
    try:
        return message.size_bytes if limits.wire_size is None else int(limits.wire_size(message))
    except Exception:
        return limits.max_bytes + 1


def _chunks(messages: Sequence[Message], batch_size: int, max_bytes: int) -> list[list[Message]]:
    """Consecutive messages, at most ``batch_size`` and ``max_bytes`` together; a longer one travels alone."""
    longest = sum(
        max(map(len, texts), default=0)
        for texts in (
            [m.content for m in messages],
            [m.topic for m in messages],
            [m.json_ex_content for m in messages if m.json_ex_content is not None],
            [m.target_group for m in messages if m.target_group is not None],
            [m.target_app_key for m in messages if m.target_app_key is not None],
        )
    )
    # No message is longer than the longest of each part. A character is four bytes at most: nothing to count here.
    if 4 * longest * batch_size <= max_bytes:
        return [list(messages[first : first + batch_size]) for first in range(0, len(messages), batch_size)]
    chunks: list[list[Message]] = []
    room = 0
    for message in messages:
        size = message.size_bytes
        if not chunks or len(chunks[-1]) == batch_size or size > room:
            chunks.append([])
            room = max_bytes
        chunks[-1].append(message)
        room -= size
    return chunks
