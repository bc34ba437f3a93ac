"""What page one costs while it is left open, in one tab and in twenty, with ten million finished messages.

Each tab does what the script of the page does: it asks again when the answer has told it to. Beside it, what the same
process takes while nobody looks: on a machine that is charged for each time it wakes, that is the larger part.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

from sqlalchemy import text

from benchmarks.cockpit import LOGIN, Cockpit, serving
from benchmarks.effort import Effort
from benchmarks.ground import Ground, connected
from benchmarks.large import large
from benchmarks.spending import cpu_ms
from benchmarks.table import Cells, Row, Table

_EVERY = re.compile(rb'id="live-every"[^>]*data-every="([\d.]+)"')
_HEADER = {"x-relay-live": "1"}
_SETTLE_SECONDS = 10.0


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    url = large(ground, effort)
    many = f"{effort.large:,} finished messages and {effort.large // 50:,} pending ones"
    rows = []
    for name, tabs in (("one tab", 1), ("twenty tabs", 20)):
        with serving(url) as cockpit:
            rows.append(Row(name, [_left_open(cockpit, url, tabs, effort.open_seconds)]))
    yield Table(f"page one left open for a minute, {many}", rows, compared=False)


def _left_open(cockpit: Cockpit, url: str, tabs: int, seconds: float) -> Cells:
    cockpit.page("/")
    time.sleep(_SETTLE_SECONDS)  # the start is over, and what was read for it is old
    unseen = _spent(cockpit, url, seconds, 0, [])
    asked: list[int] = []
    seen = _spent(cockpit, url, seconds, tabs, asked)
    return {
        "% of a core, dashboard": seen[0],
        "without a tab": unseen[0],
        "% of a core, PostgreSQL": seen[1],
        "without a tab, PostgreSQL": unseen[1],
        "requests": len(asked),
    }


def _spent(cockpit: Cockpit, url: str, seconds: float, tabs: int, asked: list[int]) -> tuple[float, float]:
    """The share of a core that the dashboard took, and its sessions did; ``asked`` gets the size of each answer."""
    ended = time.monotonic() + seconds
    before = cpu_ms([cockpit.process.pid]), cpu_ms(_sessions(url))
    threads = [threading.Thread(target=_tab, args=(cockpit, ended, asked)) for _ in range(tabs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(max(0.0, ended - time.monotonic()))
    after = cpu_ms([cockpit.process.pid]), cpu_ms(_sessions(url))
    ours, theirs = (100 * (late - early) / (1000 * seconds) for early, late in zip(before, after, strict=True))
    return ours, theirs


def _sessions(url: str) -> list[int]:
    """The processes that serve the dashboard; not autovacuum and others, which have work of their own here."""
    with connected(url) as connection:
        asked = text("select pid from pg_stat_activity where usename = :login")
        return list(connection.execute(asked, {"login": LOGIN}).scalars())


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
