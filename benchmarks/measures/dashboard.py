"""How long do the pages of the dashboard take with ten million finished messages, and the first one after a start.

Each page is asked again and again in turns of more than two seconds, so that page one is read anew each time; and some
of them after ten idle seconds each, as a person asks at three in the morning. The commands that ask the same are timed
beside them, from the start of their process to its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import make_url

from benchmarks.cockpit import LOGIN, pages, serving
from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.large import crowded, large
from benchmarks.table import Cells, Row, Table, in_turn

_TURN_SECONDS, _REST_SECONDS = 2.1, 10.0
_FIRST = ("/", "/messages", "/messages?state=due", "/failures", "/keys", "/days")


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    url = large(ground, effort)
    of = f"{effort.large:,} finished messages and {effort.large // 50:,} pending ones"
    yield Table(f"the pages of the dashboard, {of}", _pages(url, effort), compared=False)
    yield Table(f"after ten idle seconds each, {of}", _rested(url, effort), compared=False)
    yield Table(f"the first page after a start of the dashboard, {of}", _first(url, effort), compared=False)
    yield Table(f"the commands that read, {of}", in_turn(_commands(url), effort.repeats), compared=False)
    many = f"{effort.large:,} finished messages and {effort.large // 10:,} pending ones"
    chosen = ("/", "messages, newest", "messages, due", "messages, held", "failures", "keys", "keys, ten pages deep")
    title = f"some pages of the dashboard, {many}"
    yield Table(title, _pages(crowded(ground, effort), effort, chosen), compared=False)


def _pages(url: str, effort: Effort, chosen: tuple[str, ...] = ()) -> list[Row]:
    with serving(url) as cockpit:
        asked = {name: path for name, path in pages(url, cockpit).items() if not chosen or name in chosen}
        runs: dict[str, list[Cells]] = {name: [] for name in asked}
        for _ in range(effort.visits):
            begun = time.monotonic()
            for name, path in asked.items():
                runs[name].append({"ms": cockpit.ms(path)})
            time.sleep(max(0.0, _TURN_SECONDS - (time.monotonic() - begun)))
    return [Row(name, cells) for name, cells in runs.items()]


def _rested(url: str, effort: Effort) -> list[Row]:
    runs: dict[str, list[Cells]] = {path: [] for path in _FIRST}
    with serving(url) as cockpit:
        for _ in range(effort.repeats):
            for path, cells in runs.items():
                time.sleep(_REST_SECONDS)
                cells.append({"ms": cockpit.ms(path)})
    return [Row(path, cells) for path, cells in runs.items()]


def _first(url: str, effort: Effort) -> list[Row]:
    """Of a new process each."""
    runs: dict[str, list[Cells]] = {path: [] for path in _FIRST}
    for _ in range(effort.repeats):
        for path, cells in runs.items():
            with serving(url) as cockpit:
                cells.append({"ms": cockpit.ms(path), "ms until it answers pages": cockpit.ready_ms})
    return [Row(path, cells) for path, cells in runs.items()]


def _commands(url: str) -> dict[str, Callable[[], Cells]]:
    login = make_url(url).set(drivername="postgresql", username=LOGIN, password="p")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    env["RELAY_DATABASE_URL"] = login.render_as_string(hide_password=False)
    asked = ("status", "list", "list --status pending", "list --topic nothing", "list --status failed", "show 5000000")
    return {f"relay {words}": partial(_run, words, env) for words in asked}


def _run(words: str, env: dict[str, str]) -> Cells:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "relay", *words.split()]
    subprocess.run(command, env=env, check=words.startswith(("status", "list")), capture_output=True)
    return {"ms": (time.perf_counter() - begun) * 1000}
