"""Threads that nobody waits for: what hangs in one does not keep the process.

The interpreter joins the threads of ``ThreadPoolExecutor`` before it ends, also those of asyncio's default executor. A
name look-up, a write into a pipe nobody reads, a statement on a stalled connection: none can be interrupted, and each
would hold the end up for as long as it takes. These threads are daemons. What they were doing when the process ends is
lost, so a caller that needs it waits for its future, with a deadline of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_DEFAULT_THREADS = 32  # as many as asyncio's own may have
_Work = tuple[Future[Any], Callable[[], Any]]


class Thread(threading.Thread):
    """A daemon of ours."""

    def __init__(self, target: Callable[[], object], *, name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)


class Executor(ThreadPoolExecutor):
    """At most ``threads`` at once, started as they are needed. A ThreadPoolExecutor by name only: asyncio insists."""

    def __init__(self, threads: int, *, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._threads_allowed = threads
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = self._started = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` on a thread of ours, started if none is free. Raises RuntimeError after ``shutdown``."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._work.put((future, lambda: fn(*args, **kwargs)))
            self._unfinished += 1
            if self._started < min(self._unfinished, self._threads_allowed):
                self._started += 1
                Thread(self._serve, name=f"{self._name}_{self._started}").start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Threads end when they have nothing more to do. Never waits, whatever it is told."""
        with self._lock:
            self._closed = True
        with suppress(Empty):
            while cancel_futures:
                if work := self._work.get_nowait():
                    work[0].cancel()
        for _ in range(self._started):
            self._work.put(None)

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            self._do(*item)
            del item  # the result is not kept alive by a thread that waits

    def _do(self, future: Future[Any], work: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return self._finished()
        try:
            result = work()
        except BaseException as error:
            self._finished()
            future.set_exception(error)
        else:
            self._finished()  # before the caller hears of it: if it brings more work, this thread is free for that
            future.set_result(result)

    def _finished(self) -> None:
        with self._lock:
            self._unfinished -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, with threads nobody waits for: names are looked up in them, among other things."""

    async def wrapped() -> T:
        asyncio.get_running_loop().set_default_executor(Executor(_DEFAULT_THREADS, name="default"))
        return await main

    return asyncio.run(wrapped())


async def in_thread(work: Callable[[], T], unwanted: Callable[[T], object] = lambda _: None) -> T:
    """The result of ``work``, in a thread of its own.

    When cancelled, the work goes on to its end without us, and ``unwanted`` is given what came of it.
    """
    executor = Executor(1, name="opening")
    future = executor.submit(work)
    executor.shutdown()

    def take_back(ended: Future[T]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            unwanted(ended.result())

    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(take_back)
        raise


def still_at_work(patience_seconds: float) -> list[str]:
    """The names of our threads that have not ended after this long: at the end of a process, those that hang."""
    deadline = time.monotonic() + patience_seconds
    ours = [thread for thread in threading.enumerate() if isinstance(thread, Thread)]
    for thread in ours:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in ours if thread.is_alive()]
