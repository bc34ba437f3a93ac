"""What a scrape of /metrics costs with ten million finished and a million pending messages: time and CPU.

The worker is a real one, with all its calls in flight: nobody reads what its producer writes. A scrape is measured
after more than five seconds without one, so that the gauges are read anew, and once more right after it.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.effort import Effort
from benchmarks.ground import Ground, conninfo
from benchmarks.large import crowded
from benchmarks.spending import children, cpu_ms
from benchmarks.table import Cells, Row, Table

_REST_SECONDS = 5.5
_PORT = 19464


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    url = crowded(ground, effort)
    anew: list[Cells] = []
    again: list[Cells] = []
    with _working(url) as worker:
        for _ in range(effort.visits + 1):
            time.sleep(_REST_SECONDS)
            for cells in (anew, again):
                cells.append(_scrape(worker, ground.postmaster))
    many = f"{effort.large:,} finished and {effort.large // 10:,} pending messages"
    rows = [Row("the gauges are read anew", anew[1:]), Row("again within five seconds", again[1:])]
    yield Table(f"a scrape of /metrics, {many}", rows, compared=False)


@contextmanager
def _working(url: str) -> Iterator[int]:
    """The worker's process, once it has claimed what it may."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    env |= {"RELAY_DATABASE_URL": conninfo(url), "RELAY_PRODUCER": "stdout", "RELAY_METRICS_PORT": str(_PORT)}
    env |= {"RELAY_METRICS_HOST": "127.0.0.1", "RELAY_LOG_LEVEL": "error"}
    process = subprocess.Popen([sys.executable, "-m", "relay", "run"], env=env, stdout=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def _scrape(worker: int, postmaster: int) -> Cells:
    before, begun = (cpu_ms([worker]), cpu_ms(children(postmaster))), time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    ms = (time.perf_counter() - begun) * 1000
    if "relay_backlog_up 1" not in text:
        raise RuntimeError(f"no gauges: {text[:500]}")
    after = (cpu_ms([worker]), cpu_ms(children(postmaster)))
    return {"ms": ms, "ms of CPU, worker": after[0] - before[0], "ms of CPU, PostgreSQL": after[1] - before[1]}
