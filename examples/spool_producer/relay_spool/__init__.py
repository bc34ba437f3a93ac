"""Messages as lines of a file for each day: a producer for the relay, in a package of its own.

A line is one JSON object: id, topic, account, content, and with the option ``key`` the HMAC-SHA256 of these, so that
whoever reads the files knows that they come from here. What was written in part is ``UNKNOWN``: it may be read already.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from relay.errors import ConfigurationError
from relay.explained import Explained
from relay.findings import Finding, ok, warn
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Refused
from relay.producers import BatchSize, ProducerContext, ProducerOptions, Secret

LOW_BYTES = 1024**2

_CODES = {
    "spool.unopened": Explained(
        "The file of the day cannot be opened; nothing was written.",
        "whoever owns the folder",
        call=Refused(Fault.PROVIDER, "spool.unopened"),
    ),
    "spool.cut": Explained(
        "Writing broke off; what was written may have been read.",
        "whoever owns the disk: is it full?",
        call=Refused(Fault.UNKNOWN, "spool.cut"),
    ),
}


def explained(code: str) -> Explained | None:
    return _CODES.get(code)


class SpoolOptions(ProducerOptions):
    folder: Path
    key: Secret | None = None
    sync: bool = True
    by_topic: bool = False
    batch_size: BatchSize = 50


class SpoolProducer:
    Options = SpoolOptions
    explain = staticmethod(explained)

    def __init__(self, context: ProducerContext[SpoolOptions]) -> None:
        self.max_batch = 500
        self.max_bytes = 1024 * 1024
        self._options = context.options
        self._now = context.now
        self._lock = Lock()

    async def open(self) -> None:
        if not os.access(self._options.folder, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"the folder {self._options.folder} cannot be written to", "Make it, or name another."
            )

    async def close(self) -> None:
        """Nothing is kept open between two calls."""

    async def probe(self, account: str) -> Finding:
        free = shutil.disk_usage(self._options.folder).free
        said = f"has {free // 1024**2:,} MB left for the account {account}"
        return ok(said) if free >= LOW_BYTES else warn(said, "Make room, or name another folder.")

    def destination(self, message: Message) -> str:
        """The beginning of the name of its file: a call writes to one file."""
        return quote(message.topic, safe="") + "." if self._options.by_topic else ""

    def wire_size(self, message: Message) -> int:
        return len(self._line(message))

    async def produce(self, batch: Batch) -> Answer:
        lines = b"".join(self._line(message) for message in batch.messages)
        day = datetime.fromtimestamp(self._now(), UTC)
        file = self._options.folder / f"{self.destination(batch.messages[0])}{day:%Y-%m-%d}.jsonl"
        # In a thread: a slow disk must not stop the leases of other calls.
        refused = await asyncio.to_thread(self._append, file, lines)
        return refused or Answered((ACCEPTED,) * len(batch), request_bytes=len(lines))

    def _append(self, file: Path, lines: bytes) -> Refused | None:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        except OSError as error:  # nothing was written: certainly nothing was accepted
            return Refused(Fault.PROVIDER, "spool.unopened", message=f"{file.name}: {error.strerror}")
        try:
            with self._lock:
                _write(descriptor, lines)
                if self._options.sync:
                    os.fsync(descriptor)
        except OSError as error:
            return Refused(Fault.UNKNOWN, "spool.cut", message=f"{file.name}: {error.strerror}")
        finally:
            os.close(descriptor)
        return None

    def _line(self, message: Message) -> bytes:
        told = {"id": message.id, "topic": message.topic, "account": message.account, "content": message.content}
        if self._options.key:
            told["hmac"] = signature(self._options.key.get_secret_value(), list(told.values()))
        return json.dumps(told).encode() + b"\n"


def signature(key: str, values: Sequence[object]) -> str:
    """Of id, topic, account and content, in this order, as a JSON list."""
    return hmac.new(key.encode(), json.dumps(values).encode(), hashlib.sha256).hexdigest()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
