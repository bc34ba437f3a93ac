"""A loop written by hand with psycopg and httpx, as fast as an afternoon allows: no retry, no accounts, no evidence.

A lease by UPDATE, a mark by UPDATE, a commit after each. Without HTTP it takes 1,000 rows at a time; with HTTP each
slot is a thread with a connection of its own that takes 50. It uses the relay's request builder, so what is compared is
the loop, not who encodes faster.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import psycopg

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION, Drain, Job, Tally
from benchmarks.ground import conninfo
from relay.credential import Credential
from relay.message import Message
from relay.tmc.request import request_body

_CLAIM = """
with ready as (
    select id from bare.outbox where status = 'pending' and lease_until < now()
    order by id limit %s for update skip locked)
update bare.outbox o set lease_until = now() + interval '1 minute' from ready where o.id = ready.id
returning o.id, o.topic, o.content::text
"""
_MARK = "update bare.outbox set status = 'done', finished_at = now() where id = any(%s)"


def prepare(job: Job) -> Drain:
    slots = job.in_flight if job.platform_url else 1
    connections = [psycopg.connect(conninfo(job.database_url)) for _ in range(slots)]
    client = httpx.Client(limits=httpx.Limits(max_connections=None), trust_env=False)

    def drain() -> Tally:
        if job.platform_url is None:
            return Tally(_drain(connections[0], 1000, lambda _rows: None))
        with client:
            return Tally(_in_threads(connections, client, job.platform_url))

    return drain


def _in_threads(connections: list[psycopg.Connection[Any]], client: httpx.Client, url: str) -> int:
    executed: list[int] = []
    credential = Credential(APP_KEY, APP_SECRET, SESSION)
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}

    def post(rows: list[Any]) -> None:
        messages = [Message(id_, topic, content) for id_, topic, content in rows]
        body = request_body(
            credential,
            messages,
            unix_seconds=time.time(),
            sign_method="hmac-sha256",
            response_format="json",
            simplify=False,
        )
        answer = client.post(url, content=body, headers=headers).json()
        assert answer["tmc_messages_produce_response"]["is_all_success"]

    threads = [
        threading.Thread(target=lambda c=connection: executed.append(_drain(c, 50, post))) for connection in connections
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(executed)


def _drain(connection: psycopg.Connection[Any], rows_at_once: int, post: Any) -> int:
    executed = 0
    while True:
        rows = connection.execute(_CLAIM, (rows_at_once,)).fetchall()
        connection.commit()
        executed += 2 if rows else 1
        if not rows:
            return executed
        post(rows)
        connection.execute(_MARK, ([row[0] for row in rows],))
        connection.commit()
