"""Writes each message as one line of JSON to standard output and accepts it. The example to copy.

For a look at what would be sent, or to pipe the outbox into another program. A batch is written in one piece, so the
lines of two calls never mix; the text is pure ASCII, so it survives any locale.
"""

from __future__ import annotations

import asyncio
import json
import sys
from threading import Lock

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Refused
from relay.producers import ProducerConfig


class StdoutProducer:
    def __init__(self, config: ProducerConfig) -> None:
        self.max_batch = config.batch_size
        self.max_bytes = 1024 * 1024
        self._lock = Lock()

    async def open(self) -> None:
        """Standard output is open already."""

    async def close(self) -> None:
        """Standard output belongs to the process."""

    async def produce(self, batch: Batch) -> Answer:
        text = "".join(map(_line, batch.messages))
        try:
            # In a thread: a slow reader of the pipe must not stop the leases of other calls.
            await asyncio.to_thread(self._write, text)
        except OSError as error:
            return Refused(Fault.UNKNOWN, "relay.connection_cut", message=f"standard output: {error.strerror}")
        return Answered(results=(ACCEPTED,) * len(batch), request_bytes=len(text))

    def _write(self, text: str) -> None:
        with self._lock:
            sys.stdout.write(text)
            sys.stdout.flush()


def _line(message: Message) -> str:
    shown = {"id": message.id, "topic": message.topic, "account": message.account, "content": message.content}
    return json.dumps(shown) + "\n"
