"""A real ``relay dashboard`` process on a large database, its pages as people ask for them, and how long each takes.

It reads by a login that is a member of relay_dashboard and of nothing else. A time is that of one request over HTTP,
on a connection of its own, from its first byte to the last one of the answer.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import make_url, text

from benchmarks.ground import connected
from relay.roles import RoleNames, roles_sql

LOGIN = "cockpit"
DEEP = 10  # clicks on "older" before a page is measured
_READY = re.compile(r"http://127\.0\.0\.1:(\d+)")
_FACTS = """
select (select max(id) from relay.outbox where status = 'done') as much_tried,
    (select min(id) + 1000 from relay.outbox where status = 'done') as done,
    (select ordering_key from relay.outbox where id = (select min(id) + 10000 from relay.outbox)) as done_key,
    (select min(id) + 1000 from relay.outbox_archive) as archived,
    (select ordering_key from relay.outbox_archive where id = (select min(id) + 1000 from relay.outbox_archive))
        as archived_key,
    (select max(id) from relay.outbox where status = 'pending') as pending,
    (select ordering_key from relay.outbox where status = 'pending' and ordering_key like 'order-%' limit 1) as key,
    (select id from relay.outbox where status = 'failed' limit 1) as failed,
    (select error_code from relay.outbox where status = 'failed' limit 1) as code,
    (select dedupe_key from relay.outbox where dedupe_key is not null limit 1) as dedupe,
    (select account from relay.outbox where dedupe_key is not null limit 1) as account,
    (select id from relay.call where cardinality(message_ids) = 50 limit 1 offset 100) as call,
    (select request_id from relay.call where cardinality(message_ids) = 50 limit 1 offset 100) as request,
    (select id from relay.call_archive where cardinality(message_ids) = 50 limit 1 offset 100) as archived_call,
    to_char(now() at time zone 'UTC' - interval '20 days', 'YYYY-MM-DD"T"HH24:MI') as since,
    to_char(now() at time zone 'UTC' - interval '19 days', 'YYYY-MM-DD"T"HH24:MI') as until
"""


@dataclass(frozen=True, slots=True)
class Cockpit:
    """The process, its port, and after how long it answered pages."""

    process: subprocess.Popen[str]
    port: int
    ready_ms: float

    def ms(self, path: str) -> float:
        """Of one request, in milliseconds. Raises RuntimeError where the answer is no page."""
        started = time.perf_counter()
        self.page(path)
        return (time.perf_counter() - started) * 1000

    def document(self, path: str) -> Any:
        """The read models of this page."""
        return json.loads(self.page("/api" + path))

    def page(self, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """The whole answer. Raises RuntimeError where it is no page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status not in (200, 303):
            raise RuntimeError(f"{path}: {answer.status} {body[:2000]!r}")
        return body


@contextmanager
def serving(url: str) -> Iterator[Cockpit]:
    """A new process, ended with the block."""
    database = make_url(url).set(drivername="postgresql", username=LOGIN, password="p")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    env["RELAY_DASHBOARD_DATABASE_URL"] = database.render_as_string(hide_password=False)
    started = time.perf_counter()
    command = [sys.executable, "-m", "relay", "dashboard", "--port", "0"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if _READY.search(line))
        found = _READY.search(line)
        assert found is not None
        yield Cockpit(process, int(found[1]), (time.perf_counter() - started) * 1000)
    finally:
        process.terminate()
        process.communicate()


def let_in(url: str) -> None:
    """The login, once for the database; roles are those of the server."""
    names = RoleNames()
    with connected(url) as connection:
        connection.exec_driver_sql(roles_sql(names).replace("%", "%%"))
        if not connection.scalar(text("select count(*) from pg_roles where rolname = :name"), {"name": LOGIN}):
            connection.exec_driver_sql(f"create role {LOGIN} login password 'p' in role {names.dashboard}")


def pages(url: str, cockpit: Cockpit) -> Mapping[str, str]:
    """What is measured: in words -> path and query."""
    with connected(url) as connection:
        facts = connection.execute(text(_FACTS)).one()
    messages = {
        "newest": {},
        **{state: {"state": state} for state in ("pending", "due", "waiting", "held", "done", "failed")},
        "failed with a code": {"state": "failed", "code": facts.code},
        "of a code": {"code": facts.code},
        "of a key that waits": {"key": facts.key},
        "of a key that is done": {"key": facts.done_key},
        "of a key in the archive": {"key": facts.archived_key},
        "of a topic": {"topic": "shop_Refund"},
        "of a topic that nothing has": {"topic": "nothing"},
        "of an account": {"account": "shop-7"},
        "pending of an account": {"state": "pending", "account": "shop-7"},
        "of an account that nothing has": {"account": "nobody"},
        "of a day": {"since": facts.since, "until": facts.until},
        "of a day and a topic that nothing has": {"since": facts.since, "until": facts.until, "topic": "nothing"},
        "by dedupe key": {"account": facts.account, "dedupe": facts.dedupe},
    }
    found = {f"messages, {name}": _path("/messages", query) for name, query in messages.items()}
    for name, path in {
        "messages": "/messages", "messages, pending": "/messages?state=pending",
        "messages, failed": "/messages?state=failed", "calls": "/calls", "duplicates": "/duplicates", "keys": "/keys",
        "ledger": "/ledger", "past pauses": "/pauses?kind=ended",
    }.items():  # fmt: skip
        found |= _deep(name, path, cockpit)
    return {
        "/": "/",
        **found,
        "message, done": f"/messages/{facts.done}",
        "message, archived": f"/messages/{facts.archived}",
        "message, failed": f"/messages/{facts.failed}",
        "message, pending": f"/messages/{facts.pending}",
        "message, a hundred attempts": f"/messages/{facts.much_tried}",
        "calls, newest": "/calls",
        "calls, open": "/calls?state=open",
        "calls, of a request": f"/calls?request={facts.request}",
        "call, fifty messages": f"/calls/{facts.call}",
        "call, archived": f"/calls/{facts.archived_call}",
        "failures": "/failures",
        "duplicates": "/duplicates",
        "keys": "/keys",
        "pauses": "/pauses",
        "pauses, ended": "/pauses?kind=ended",
        "ledger": "/ledger",
        "days": "/days",
        "a code": f"/codes/{facts.code}",
    }


def _deep(name: str, path: str, cockpit: Cockpit) -> dict[str, str]:
    """The page after some clicks on "older", and one back on "newer"; where there are so many."""
    at, older, newer = path, None, None
    for _ in range(DEEP):
        found = cockpit.document(at)
        if found["older"] is None:
            break
        older, newer = at, found["newer"]
        at = _path(path, {"older": found["older"]})
    else:
        newer = cockpit.document(at)["newer"]
        back = _path(path, {"newer": newer})
        return {f"{name}, ten pages deep": at, f"{name}, and back": back}
    return {f"{name}, its last page": older} if older else {}


def _path(path: str, query: Mapping[str, str]) -> str:
    if not query:
        return path
    return path + ("&" if "?" in path else "?") + urlencode(query)
