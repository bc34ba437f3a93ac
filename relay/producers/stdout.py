"""Writes each message as one line of JSON to standard output and accepts it. The example to copy.

For a look at what would be sent, or to pipe the outbox into another program. A batch is written in one piece, so the
lines of two calls never mix; the text is pure ASCII, so it survives any locale.
"""

from __future__ import annotations

import json
import sys

from relay.errors import ConfigurationError
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Refused
from relay.producers import InTurn, ProducerContext, ProducerOptions

MAX_MESSAGES = 50
MAX_BYTES = 1024 * 1024


class StdoutProducer:
    """Writes each message as one line of JSON to standard output. Nothing can be refused but by the pipe."""

    def __init__(self, _context: ProducerContext[ProducerOptions]) -> None:
        self.max_batch = MAX_MESSAGES
        self.max_bytes = MAX_BYTES
        self._in_turn = InTurn()

    async def open(self) -> None:
        """Standard output is open already, or was closed before the start."""
        if sys.stdout is None:
            raise ConfigurationError("Standard output is closed", "The producer stdout needs one, if only a file.")

    async def close(self) -> None:
        """Standard output belongs to the process."""

    async def produce(self, batch: Batch) -> Answer:
        """All accepted once they are flushed; UNKNOWN where the pipe breaks, for part of them may have been read."""
        text = "".join(map(line_of, batch.messages))
        try:
            await self._in_turn.write(lambda: write_out(text))
        except OSError as error:
            return Refused(Fault.UNKNOWN, "relay.connection_cut", message=f"standard output: {error.strerror}")
        return Answered(results=(ACCEPTED,) * len(batch), request_bytes=len(text))


def write_out(text: str) -> None:
    """In one piece, and flushed: what is accepted has left this process."""
    sys.stdout.write(text)
    sys.stdout.flush()


def line_of(message: Message) -> str:
    """One line of JSON: id, topic, account, content."""
    shown = {"id": message.id, "topic": message.topic, "account": message.account, "content": message.content}
    return json.dumps(shown) + "\n"
