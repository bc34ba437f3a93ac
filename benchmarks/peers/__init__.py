"""Other outbox libraries and job queues, each installed from the package index into an environment of its own.

A peer keeps its own schema, driver and, where its own runner takes it, uvloop. It runs tuned, with the settings its
documentation names for throughput at the best values found here, or limited to sixteen messages at once. None of them
makes one call of many messages; over HTTP each message is a call.

    __init__.py      which peers, with which settings; how a table is filled, and how one sees that nothing is left
    environments.py  this side: a virtual environment for each peer, made once
    lap.py           this side: one drain by one peer
    __main__.py      that side, in the peer's interpreter: create its schema, or connect, wait for the start, drain
    posting.py       that side: one signed call for one message
    txoutbox.py ...  that side: one module for each peer, with ``install`` and ``ready``
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Knobs = Mapping[str, int]
Handle = Callable[[str], Awaitable[None]]  # what is done with the content of one message
Drain = Callable[[], Awaitable[None]]  # returns when everything was handled


@dataclass(frozen=True, slots=True)
class Peer:
    """``fill`` inserts one message with ``{content}`` for each number ``n``; ``left`` counts what is not finished.

    The knobs are keyword arguments of the peer's own API under their own names, but for ``managers`` of pgqueuer.
    """

    requirements: tuple[str, ...]  # the first one is the peer, at the version measured
    table: str
    fill: str
    left: str
    tuned: Knobs
    sixteen: Knobs
    keeps: str  # what is in the database when a message is finished
    slower: int = 1  # gets so many times fewer messages, or one run would last for minutes


PEERS = {
    "txoutbox": Peer(
        requirements=("txoutbox[postgres]==0.2.2",),
        table="outbox",
        fill="insert into outbox (topic, payload) select 'trade', convert_to({content}, 'UTF8')",
        left="select count(*) from outbox where status <> 'done'",
        tuned={"batch_size": 500, "concurrency": 100, "strict_ordering": False, "delete_on_ack": True},
        sixteen={"batch_size": 500, "concurrency": 16, "strict_ordering": False, "delete_on_ack": True},
        keeps="nothing",
    ),
    "pgqueuer": Peer(
        requirements=("pgqueuer[asyncpg]==1.6.0",),
        table="pgqueuer",
        fill="""
            insert into pgqueuer (priority, status, entrypoint, payload)
            select 0, 'queued', 'trade', convert_to({content}, 'UTF8')
            """,
        left="select count(*) from pgqueuer",
        tuned={"managers": 5, "batch_size": 100, "max_concurrent_tasks": 200},
        sixteen={"batch_size": 8, "max_concurrent_tasks": 16},
        keeps="log lines without the payload",
    ),
    "faststream-outbox": Peer(
        requirements=("faststream-outbox[asyncpg]==0.19.0", "uvloop"),
        table="outbox",
        fill="""
            insert into outbox (queue, payload, headers)
            select 'trade', convert_to({content}, 'UTF8'), jsonb_build_object('content-type', 'text/plain')
            """,
        left="select count(*) from outbox",
        tuned={"max_workers": 30, "fetch_batch_size": 500, "terminal_flush_batch_size": 100, "apply_types": False},
        sixteen={"max_workers": 16, "fetch_batch_size": 500, "terminal_flush_batch_size": 100, "apply_types": False},
        keeps="nothing",
    ),
    "procrastinate": Peer(
        requirements=("procrastinate==3.10.0", "psycopg[binary]"),
        table="procrastinate_jobs",
        fill="""
            insert into procrastinate_jobs (queue_name, task_name, args)
            select 'default', 'trade', jsonb_build_object('content', {content})
            """,
        left="select count(*) from procrastinate_jobs where status <> 'succeeded'",
        tuned={"concurrency": 30},
        sixteen={"concurrency": 16},
        keeps="the job and its events",
        slower=10,
    ),
}


def module_of(name: str) -> str:
    """The distribution ``faststream-outbox`` is driven by ``benchmarks.peers.faststream_outbox``."""
    return f"benchmarks.peers.{name.replace('-', '_')}"
