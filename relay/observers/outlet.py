"""A standard error that never makes its writer wait: lines go into a queue, and a thread of its own writes them.

A reader that stopped reading (a log driver in trouble, a pager, a stopped shell) blocks every writer into its pipe.
In a worker that would be the event loop, and with it deliveries, probes and SIGTERM. So what does not fit into the
queue is lost and counted; once there is room again, one line says how many and why. A full disk is treated alike. When
the reader is gone everything is lost, and nobody is told, for there is nobody.

The file descriptor is written to directly: Python's own buffer has a lock, which the interpreter takes when it ends.
"""

from __future__ import annotations

import errno
import io
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

MAX_CHARACTERS = 4 * 1024 * 1024
NOBODY_READS = "nobody reads"
_TRY_AGAIN_SECONDS = 0.25  # after an error such as a full disk
_NEWLINE = ord("\n")
_GONE = (errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ENXIO)


class Outlet(io.TextIOBase):
    """``lost_line`` makes the line that tells of a loss, from the number of lines and the reason."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, descriptor: int, *, max_characters: int = MAX_CHARACTERS) -> None:
        super().__init__()
        self.lost_line: Callable[[int, str], str] = _lost_line
        self._descriptor = descriptor
        self._terminal = os.isatty(descriptor)
        self._max_characters = max_characters
        self._news = threading.Condition()
        self._queue: deque[tuple[str, int]] = deque()  # a text, and how many lines are lost with it
        self._begun = ""  # a line without its end
        self._characters = 0  # in the queue, or being written
        self._lost = 0
        self._reason = NOBODY_READS
        self._full = self._gone = self._torn = False
        threading.Thread(target=self._write_forever, name="outlet", daemon=True).start()

    def write(self, text: str, /) -> int:
        """Take the text, and return at once; whole lines are written by a thread. Raises TypeError for bytes."""
        if not isinstance(text, str):  # who asks whether this stream takes bytes
            raise TypeError(f"a text is written, not {type(text).__name__}")
        with self._news:
            whole, newline, self._begun = (self._begun + text).rpartition("\n")
            self._offer(whole + newline)
        return len(text)

    def writable(self) -> bool:
        """Yes, though what nobody reads in time is dropped."""
        return True

    def isatty(self) -> bool:
        """Whether the stream was a terminal when this was made."""
        return self._terminal

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self._descriptor

    def flush(self) -> None:
        """Whole lines are on their way already."""
        with self._news:
            begun, self._begun = self._begun, ""
            self._offer(begun)

    def close(self) -> None:
        """Whatever is still in the queue is lost. The descriptor stays open: it belongs to the process."""
        with self._news:
            self._gone = True
            self._news.notify_all()
        super().close()

    def drain(self, seconds: float) -> bool:
        """Wait at most this long until all is written; whether it is, or there is nobody to read it."""
        deadline = time.monotonic() + seconds
        self.flush()
        with self._news:
            while self._characters and not self._gone:
                if (left := deadline - time.monotonic()) <= 0:
                    return False
                self._news.wait(left)
            return True

    def _offer(self, text: str) -> None:
        # Once full, half of it has to be free: else every other line would be one that tells of a loss.
        bound = self._max_characters / 2 if self._full else self._max_characters
        self._full = self._characters + len(text) > bound
        if self._full or self._gone:
            self._lost += text.count("\n")
        elif text:
            self._put(text)

    def _put(self, text: str) -> None:
        lines = text.count("\n") + self._lost
        if self._lost:
            text = self.lost_line(self._lost, self._reason) + text
            self._lost, self._reason = 0, NOBODY_READS
        self._queue.append((text, lines))
        self._characters += len(text)
        self._news.notify_all()

    def _write_forever(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queue or self._gone)
                if self._gone:
                    return
                text, lines = self._queue.popleft()
            error = self._written(text.encode(self.encoding, self.errors))
            with self._news:
                self._account_for(text, lines, error)
                self._news.notify_all()
            if error and not self._gone:
                time.sleep(_TRY_AGAIN_SECONDS)

    def _account_for(self, text: str, lines: int, error: OSError | None) -> None:
        self._characters -= len(text)
        if error is None:
            if self._lost and not self._queue:
                self._put("")  # nothing more may come: the loss is told now
            return
        self._lost += lines
        self._reason = error.strerror or type(error).__name__
        self._gone |= error.errno in _GONE

    def _written(self, said: bytes) -> OSError | None:
        left = memoryview(b"\n" + said if self._torn else said)
        while left:
            try:
                written = os.write(self._descriptor, left)
                self._torn = left[written - 1] != _NEWLINE
                left = left[written:]
            except BlockingIOError:  # another process that shares it made it so
                select.select([], [self._descriptor], [])
            except OSError as error:
                return error
        return None


def _lost_line(lines: int, reason: str) -> str:
    return f"warning: {lines} line{' was' if lines == 1 else 's were'} lost because of this: {reason}\n"
