"""What does a message cost the application? Sixteen clients insert at once, with and without triggers and relay.

The load comes from pgbench: one transaction inserts a row of business and, but for the first line, a message. The relay
shares the machine, so its lines also pay for the CPU it uses. All variants take turns; what the wake-up trigger costs
is read off those that differ in nothing else, in tables of their own.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from benchmarks.contenders import Job
from benchmarks.effort import Effort
from benchmarks.follower import following
from benchmarks.ground import TOPIC, Ground, connected, conninfo, filled
from benchmarks.platform import platform
from benchmarks.table import Cells, Row, Table, in_turn

_CLIENTS = 16
_PATIENCE_SECONDS = 10
_TRADE = "create table trade (id bigint generated always as identity primary key, buyer text, status text)"
_BUSINESS = "insert into trade (buyer, status) values ('b', 'X_PACKAGED');"
_CONTENT = '{"tid":1234554321,"status":"X_PACKAGED","operator":"a","remark":"' + "x" * 200 + '"}'
_MESSAGE = {
    "": "",
    "plain": f"insert into relay.outbox (topic, content) values ('{TOPIC}', '{_CONTENT}');",
    "keyed": f"insert into relay.outbox (topic, content, ordering_key) values ('{TOPIC}', '{_CONTENT}', 'k' || :key);",
}
_WITHOUT_TRIGGERS = """
alter table relay.outbox disable trigger user;
alter table relay.outbox alter content_sha256 drop not null;
"""
_ALWAYS_NOTIFY = """
alter table relay.outbox disable trigger outbox_wakes;
create function notify_always() returns trigger language plpgsql as
    $$ begin perform pg_notify('always', ''); return null; end $$;
create trigger notify_always after insert on relay.outbox for each statement execute function notify_always();
"""
_WITHOUT_WAKE_UP = "alter table relay.outbox disable trigger outbox_wakes"
_BACKLOG_PER_SECOND = 8_000  # more than a relay with the platform's latency drains meanwhile


@dataclass(frozen=True, slots=True)
class Variant:
    """``relay``: empty for none, ``following`` with nothing but the inserts to do, ``draining`` a backlog meanwhile."""

    message: str = ""
    ddl: str = ""
    relay: str = ""


VARIANTS = {
    "business row alone": Variant(),
    "and a message, no trigger at all": Variant("plain", _WITHOUT_TRIGGERS),
    "and a message, no wake-up trigger": Variant("plain", _WITHOUT_WAKE_UP),
    "and a message": Variant("plain"),
    "and a message, relay following, no wake-up trigger": Variant("plain", _WITHOUT_WAKE_UP, relay="following"),
    "and a message, relay following": Variant("plain", relay="following"),
    "and a message, relay draining a backlog": Variant("plain", relay="draining"),
    "and a keyed message": Variant("keyed"),
    "and a message, with a NOTIFY at every insert": Variant("plain", _ALWAYS_NOTIFY),
}
# What the trigger costs: each line beside the one of which it differs.
WAKING = {
    "no relay": {
        "without the wake-up trigger": "and a message, no wake-up trigger",
        "with it": "and a message",
    },
    "the relay asleep until they come": {
        "without the wake-up trigger": "and a message, relay following, no wake-up trigger",
        "with it": "and a message, relay following",
    },
}


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    title = f"{_CLIENTS} clients insert at once"
    rows = in_turn(
        {label: partial(_run, ground, effort, variant) for label, variant in VARIANTS.items()}, effort.repeats
    )
    yield Table(title, rows)
    done = {row.label: row.runs for row in rows}
    for state, lines in WAKING.items():
        yield Table(f"{title}, {state}", [Row(label, done[variant]) for label, variant in lines.items()])


def _run(ground: Ground, effort: Effort, variant: Variant) -> Cells:
    with ExitStack() as stack:
        backlog = _BACKLOG_PER_SECOND * effort.insert_seconds if variant.relay == "draining" else 0
        url = stack.enter_context(ground.fresh(filled(ground, "relay.outbox", backlog)))
        with connected(url) as connection:
            connection.exec_driver_sql(_TRADE)
            if variant.ddl:
                connection.exec_driver_sql(variant.ddl)
        if variant.relay:
            there = stack.enter_context(platform(100 if variant.relay == "draining" else 0))
            stack.enter_context(following(Job(url, there.url)))
        if variant.relay == "following":
            _until_asleep(url)
        return {"transactions/s": _pgbench(ground.pgbench, url, effort.insert_seconds, _script(variant))}


def _until_asleep(url: str) -> None:
    """A relay holds the wake-up lock while it sleeps."""
    held = "select exists (select from pg_locks where locktype = 'advisory' and objid = 256 and mode = 'ExclusiveLock')"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
        while not connection.execute(text(held)).scalar_one():
            assert time.monotonic() < deadline, "the relay does not fall asleep"
            time.sleep(0.02)


def _script(variant: Variant) -> str:
    return f"\\set key random(1, 10000)\nbegin;\n{_BUSINESS}\n{_MESSAGE[variant.message]}\nend;\n"


def _pgbench(program: Path, url: str, seconds: int, script: str) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        load = ["-n", "-c", str(_CLIENTS), "-j", "2", "-T", str(seconds), "-M", "prepared", "-f", file.name]
        done = subprocess.run([str(program), *load, conninfo(url)], capture_output=True, text=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stderr
    return float(found[1])
