"""``relay demo`` ends well, again and again, also where an earlier one was killed or interrupted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import create_engine, text

from relay.demo.books import Books
from relay.demo.reconciliation import reconcile
from relay.demo.shop import Shop
from relay.embedded import EmbeddedPostgres
from tests.fixtures.acting import SAME, form
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.waiting import eventually
from tests.fixtures.wheel import Built

SOLD = r"sold +[1-9]"
CHECKS = 10
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: its parents are private, so root's PostgreSQL would have to move elsewhere.
    path = Path(tempfile.gettempdir()) / f"relay-demo-test-{uuid4().hex[:12]}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What we start hears SIGINT, also where we run in the background of a script and ignore it ourselves."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def processes_of(folder: Path) -> list[str]:
    """The processes that work in this folder or name it: the demo, its services, its PostgreSQL."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command or (process / "cwd").resolve() == folder:
                found.append(command)
        except OSError:  # it ended meanwhile
            continue
    return found


def require_good_end(demo: RelayProcess) -> None:
    assert demo.wait(60) == 0, demo.report()
    said = "\n".join(demo.stdout)
    assert "90 committed + 10 rolled back = 100" in said
    assert "267 done + 3 failed = 270" in said
    assert "267 done = 267 at the platform" in said
    twice = re.search(r"(\d+) accepted - 267 = (\d+) sent twice, (\d+) explained", said)
    assert twice is not None
    assert int(twice[1]) - 267 == int(twice[2]) == int(twice[3]) > 0
    assert len(re.findall(r" ok$", said, re.MULTILINE)) == CHECKS
    assert demo.stdout[-2] == "Everything adds up."
    assert re.fullmatch(r"See it in a browser: relay demo --dashboard --folder \S+", demo.stdout[-1])
    assert "\x1b" not in said


def test_the_demo_adds_up_and_again_where_one_was_killed_whatever_the_user_has_set(
    built: Built, execute_relay: StartRelay, folder: Path
) -> None:
    # The first as one who has installed the wheel and has nothing of the tree.
    installed = RelayProcess(
        "demo", "--folder", str(folder), cwd=built.folder, env={"PYTHONPATH": ""}, command=[str(built.relay)]
    )
    try:
        require_good_end(installed)
    finally:
        installed.reap()
    assert processes_of(folder) == []

    killed = execute_relay("demo", "--folder", str(folder))
    killed.wait_for_line(SOLD)
    killed.kill()

    theirs = {"RELAY_DATABASE_URL": "postgresql://127.0.0.1:1/theirs", "RELAY_TMC_URL": "https://127.0.0.1:1/"}
    require_good_end(execute_relay("demo", "--folder", str(folder), env=theirs))
    eventually(lambda: not processes_of(folder))


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_everything_that_was_started(execute_relay: StartRelay, folder: Path) -> None:
    demo = execute_relay("demo", "--folder", str(folder))
    demo.wait_for_line(SOLD)
    assert len(processes_of(folder)) > 3
    demo.send_signal(signal.SIGINT)
    assert demo.wait() == 130, demo.report()
    assert processes_of(folder) == []


@pytest.mark.usefixtures("interruptible")
def test_the_dashboard_shows_the_story_and_what_is_left_can_be_done(execute_relay: StartRelay, folder: Path) -> None:
    demo = execute_relay("demo", "--dashboard", "--folder", str(folder))
    url = demo.wait_for_line(r"^(http://127\.0\.0\.1:\d+)/$", "stdout", 60)[1]
    said = "\n".join(demo.stdout)
    assert "416 done + 4 failed = 420" in said
    assert len(re.findall(r" ok$", said, re.MULTILINE)) == CHECKS
    links = {link.removeprefix(url) for link in re.findall(r"^    (http\S+)$", said, re.MULTILINE)}
    assert {"/", "/failures", "/pauses", "/duplicates"} < links
    with httpx.Client(base_url=url, trust_env=False) as browser:
        pages = {link: browser.get(link) for link in links}
        assert {page.status_code for page in pages.values()} == {200}
        calls = [browser.get(f"/api{link}").json()["call"] for link in links if link.startswith("/calls/")]
        assert {call["line"]["outcome"] for call in calls} == {"rejected", "unknown", "partial"}
        assert max(len(call["positions"]) for call in calls) == 50
        assert "/act/resume?scope=account%3Adefault" in pages["/"].text
        path, fields = form(browser.get("/act/resume?scope=account:default"))
        resumed = browser.post(path, data={**fields, "reason": "counted", "actor": "ann"}, headers=SAME)
        assert resumed.status_code == 200, resumed.text
        eventually(lambda: browser.get("/api/messages?state=pending").json()["items"] == [], 20)
    demo.send_signal(signal.SIGINT)
    assert demo.wait() == 0, demo.report()
    assert demo.stdout[-1] == f"{url}/"
    assert processes_of(folder) == []


def test_one_can_look_into_what_a_demo_left(execute_relay: StartRelay, folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, create_engine(server.url()).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("create database demo"))
        connection.invalidate()

    looking = subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--folder", str(folder), "--psql"],
        cwd=PROJECT,
        input="select 6 * 7, current_database();\n",
        env={**os.environ, "PAGER": "cat"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert looking.returncode == 0, looking.stderr
    assert re.search(r"42 \| demo", looking.stdout)
    assert processes_of(folder) == []


def test_looking_inside_needs_a_demo_first(execute_relay: StartRelay, folder: Path) -> None:
    looking = execute_relay("demo", "--folder", str(folder), "--psql")
    assert looking.wait() == 1
    assert looking.stderr == [f"error: No demo has run in {folder}.", "hint: Run: relay demo"]
    assert not folder.exists()


def books_of(*messages: tuple[int, str], held: tuple[int, ...], unknown: tuple[int, ...] = ()) -> Books:
    """Books about messages (id, status) of one order; ``held``: the ids at the platform as they arrived."""
    rows: list[Any] = [
        SimpleNamespace(id=id_, ordering_key="1", content=f"content {id_}", status=status, call_id=1)
        for id_, status in messages
    ]
    attempts: list[Any] = [SimpleNamespace(message_id=id_, call_id=7, outcome="unknown") for id_ in unknown]
    return Books(tuple(rows), tuple(attempts), 0, tuple(f"content {id_}" for id_ in held))


DONE = ((1, "done"), (2, "done"), (3, "done"))


@pytest.mark.parametrize(
    ("books", "wrong"),
    [
        (books_of(*DONE, held=(1, 2, 3)), set()),
        (books_of(*DONE, held=(1, 1, 2, 3), unknown=(1,)), set()),
        (books_of(*DONE, held=(1, 1, 2, 3)), {"duplicates are explained"}),
        (books_of(*DONE, held=(1, 1, 1, 2, 3), unknown=(1,)), {"duplicates are explained"}),
        (books_of(*DONE, held=(1, 3)), {"done is what is there"}),
        (books_of(*DONE, held=(1, 3, 2)), {"order is kept"}),
        (books_of(*DONE, held=(1, 2, 3, 9)), {"duplicates are explained", "nothing was made up"}),
        (
            books_of(*DONE, held=(1, 2, 3, 66)),
            {"duplicates are explained", "nothing was made up", "rolled back is gone"},
        ),
        (books_of(*DONE[:2], held=(1, 2)), {"messages inserted"}),
        (books_of(*DONE[:2], (3, "failed"), held=(1, 2)), {"failed is what was wrong"}),
        (books_of(*DONE[:2], (3, "pending"), held=(1, 2)), {"each has its end", "nothing is left over"}),
    ],
)
def test_a_book_that_is_wrong_is_noticed(books: Books, wrong: set[str]) -> None:
    shop = Shop(create_engine("postgresql+psycopg://"))
    shop.sold, shop.rolled_back = [4], [66]
    assert {check.what for check in reconcile(shop, books, begun=2) if not check.holds} == wrong
    assert {check.what for check in reconcile(shop, books, begun=3) if not check.holds} == wrong | {"transactions"}
