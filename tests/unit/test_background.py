"""Threads that nobody waits for: as many as are needed, and none of them holds up the end of a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from relay.background import Executor, in_thread, still_at_work

# The default executor of the loop, in which names are looked up, hangs; the process ends all the same.
HANGS = """
import asyncio, threading
from relay.background import run, still_at_work

async def main():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    return await asyncio.to_thread(lambda: 7)

assert run(main()) == 7
print(still_at_work(0.1))
"""


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "['default_1']\n", "")


def test_one_that_hangs_starves_nobody_and_no_more_are_started_than_are_needed() -> None:
    executor = Executor(3, name="needed")  # a name of its own: threads of other tests may be ending yet
    go = threading.Event()
    for _ in range(5):
        assert executor.submit(lambda: threading.current_thread().name).result(5) == "needed_1"
    hanging = executor.submit(go.wait)
    assert executor.submit(lambda: 7).result(5) == 7
    assert sum(thread.name.startswith("needed_") for thread in threading.enumerate()) == 2
    go.set()
    assert hanging.result(5)
    executor.shutdown()
    assert [name for name in still_at_work(5) if name.startswith("needed_")] == []


def test_after_the_shutdown_what_waited_is_cancelled_and_nothing_is_taken() -> None:
    executor = Executor(1, name="test")
    go, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()

    running, waiting = executor.submit(work), executor.submit(go.wait)
    assert begun.wait(5)
    executor.shutdown(cancel_futures=True)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        executor.submit(print)
    go.set()
    assert running.result(5) is None


def test_what_the_work_raises_is_the_futures() -> None:
    executor = Executor(1, name="test")
    future: Future[float] = executor.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        future.result(5)
    executor.shutdown()


async def test_it_serves_a_loop() -> None:
    executor = Executor(2, name="test")
    run = asyncio.get_running_loop().run_in_executor
    assert await asyncio.gather(*(run(executor, pow, n, 2) for n in range(20))) == [n * n for n in range(20)]
    executor.shutdown()


async def test_what_is_made_after_nobody_waits_any_more_is_given_to_whoever_takes_it_back() -> None:
    go, begun, taken_back = threading.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> int:
        loop.call_soon_threadsafe(begun.set)
        go.wait()
        return 7

    def unwanted(made: int) -> None:
        assert made == 7
        loop.call_soon_threadsafe(taken_back.set)

    waiting = asyncio.create_task(in_thread(work, unwanted))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    async with asyncio.timeout(5):
        await taken_back.wait()
    assert await in_thread(lambda: 8, unwanted) == 8
