"""Writes each message as one line of JSON to standard output and accepts it. The example to copy.

For a look at what would be sent, or to pipe the outbox into another program. A batch is written in one piece, so the
lines of two calls never mix; the text is pure ASCII, so it survives any locale.
"""

from __future__ import annotations

import asyncio
import json
import sys
from threading import Lock

from relay.errors import ConfigurationError
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Refused
from relay.producers import NotSent, ProducerContext, ProducerOptions

MAX_MESSAGES = 50


class StdoutProducer:
    """Writes each message as one line of JSON to standard output. Nothing can be refused but by the pipe."""

    def __init__(self, _context: ProducerContext[ProducerOptions]) -> None:
        self.max_batch = MAX_MESSAGES
        self.max_bytes = 1024 * 1024
        self._lock = Lock()

    async def open(self) -> None:
        """Standard output is open already, or was closed before the start."""
        if sys.stdout is None:
            raise ConfigurationError("Standard output is closed", "The producer stdout needs one, if only a file.")

    async def close(self) -> None:
        """Standard output belongs to the process."""

    async def produce(self, batch: Batch) -> Answer:
        """All accepted once they are flushed; UNKNOWN where the pipe breaks, for part of them may have been read."""
        text = "".join(map(_line, batch.messages))
        fate = _Fate()
        try:
            # In a thread: a slow reader of the pipe must not stop the leases of other calls.
            await asyncio.to_thread(self._write, text, fate)
        except asyncio.CancelledError:
            if fate.given_up():
                raise NotSent from None
            raise
        except OSError as error:
            return Refused(Fault.UNKNOWN, "relay.connection_cut", message=f"standard output: {error.strerror}")
        return Answered(results=(ACCEPTED,) * len(batch), request_bytes=len(text))

    def _write(self, text: str, fate: _Fate) -> None:
        with self._lock:
            if fate.taken():
                sys.stdout.write(text)
                sys.stdout.flush()


class _Fate:
    """Whether a batch is written or given up: whichever comes first. Its thread may wait long for those before it."""

    def __init__(self) -> None:
        self._lock = Lock()

    def taken(self) -> bool:
        return self._lock.acquire(blocking=False)

    given_up = taken


def _line(message: Message) -> str:
    shown = {"id": message.id, "topic": message.topic, "account": message.account, "content": message.content}
    return json.dumps(shown) + "\n"
