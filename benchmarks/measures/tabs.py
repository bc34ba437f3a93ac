"""What page one costs while it is left open, in one tab and in twenty, with ten million finished messages.

Each tab does what the script of the page does: it asks again when the answer has told it to.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

from benchmarks.cockpit import Cockpit, serving
from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.large import large
from benchmarks.spending import children, cpu_ms
from benchmarks.table import Cells, Row, Table

_EVERY = re.compile(rb'id="live-every"[^>]*data-every="([\d.]+)"')
_HEADER = {"x-relay-live": "1"}


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    url = large(ground, effort)
    many = f"{effort.large:,} finished messages and {effort.large // 50:,} pending ones"
    rows = []
    for name, tabs in (("one tab", 1), ("twenty tabs", 20)):
        with serving(url) as cockpit:
            rows.append(Row(name, [_left_open(cockpit, ground.postmaster, tabs, effort.open_seconds)]))
    yield Table(f"page one left open for a minute, {many}", rows, compared=False)


def _left_open(cockpit: Cockpit, postmaster: int, tabs: int, seconds: float) -> Cells:
    asked: list[int] = []
    ended = time.monotonic() + seconds
    before = cpu_ms([cockpit.process.pid]), cpu_ms(children(postmaster))
    threads = [threading.Thread(target=_tab, args=(cockpit, ended, asked)) for _ in range(tabs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = cpu_ms([cockpit.process.pid]), cpu_ms(children(postmaster))
    ours, theirs = (100 * (late - early) / (1000 * seconds) for early, late in zip(before, after, strict=True))
    return {"% of a core, dashboard": ours, "% of a core, PostgreSQL": theirs, "requests": len(asked)}


def _tab(cockpit: Cockpit, ended: float, asked: list[int]) -> None:
    headers: dict[str, str] = {}
    while True:
        body = cockpit.page("/", headers)
        asked.append(len(body))
        told = _EVERY.search(body)
        if told is None:
            raise RuntimeError("the page does not say when to ask again")
        again = time.monotonic() + float(told[1])
        time.sleep(max(0.0, min(again, ended) - time.monotonic()))
        if again >= ended:
            return
        headers = _HEADER
