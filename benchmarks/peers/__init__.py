"""Other outbox libraries and job queues, each installed from the package index into an environment of its own.

A peer keeps its own schema, driver and, where its own runner takes it, uvloop. It runs tuned, with the settings its
documentation names for throughput at the best values found here: with a handler that does nothing, with one that posts
by httpx (whose one client costs the more CPU a call the more calls it has in flight), or limited to sixteen messages at
once. None of them makes one call of many messages; over HTTP each message is a call.

    __init__.py      which peers, with which settings; how a table is filled, and how one sees that nothing is left
    environments.py  this side: a virtual environment for each peer, made once
    lap.py           this side: one drain by one peer
    __main__.py      that side, in the peer's interpreter: create its schema, or connect, wait for the start, drain
    posting.py       that side: one signed call for one message, by httpx or aiohttp
    txoutbox.py ...  that side: one module for each peer, with ``install`` and ``ready``
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Knobs = Mapping[str, int]
Handle = Callable[[str], Awaitable[None]]  # what is done with the content of one message
Drain = Callable[[], Awaitable[None]]  # returns when everything was handled


@dataclass(frozen=True, slots=True)
class Way:
    """How a peer is run. The knobs are keyword arguments of its own API, but for ``managers`` of pgqueuer.

    ``per_second``: messages, as it was found here; how many make a run long enough is reckoned from it.
    """

    knobs: Knobs
    per_second: int


@dataclass(frozen=True, slots=True)
class Peer:
    """``fill`` inserts one message with ``{content}`` for each number ``n``; ``left`` counts what is not finished."""

    requirements: tuple[str, ...]  # the first one is the peer, at the version measured
    table: str
    fill: str
    left: str
    tuned: Way  # a handler that does nothing
    keeps: str  # what is in the database when a message is finished
    posting: Way | None = None  # by httpx, to a platform that answers at once; None where calls are not what limits it
    sixteen: Way | None = None  # by aiohttp, to one that needs 20 ms, sixteen at once


_TXOUTBOX = {"batch_size": 500, "strict_ordering": False, "delete_on_ack": True}
_FASTSTREAM = {"fetch_batch_size": 500, "terminal_flush_batch_size": 100, "apply_types": False}

PEERS = {
    "txoutbox": Peer(
        requirements=("txoutbox[postgres]==0.2.2",),
        table="outbox",
        fill="insert into outbox (topic, payload) select 'trade', convert_to({content}, 'UTF8')",
        left="select count(*) from outbox where status <> 'done'",
        tuned=Way({"concurrency": 100, **_TXOUTBOX}, 33_000),
        keeps="nothing",
        posting=Way({"concurrency": 4, **_TXOUTBOX}, 1_000),
        sixteen=Way({"concurrency": 16, **_TXOUTBOX}, 640),
    ),
    "pgqueuer": Peer(
        requirements=("pgqueuer[asyncpg]==1.6.0",),
        table="pgqueuer",
        fill="""
            insert into pgqueuer (priority, status, entrypoint, payload)
            select 0, 'queued', 'trade', convert_to({content}, 'UTF8')
            """,
        left="select count(*) from pgqueuer",
        tuned=Way({"managers": 5, "batch_size": 100, "max_concurrent_tasks": 200}, 18_000),
        keeps="log lines without the payload",
        posting=Way({"batch_size": 4, "max_concurrent_tasks": 8}, 800),
        sixteen=Way({"batch_size": 8, "max_concurrent_tasks": 16}, 600),
    ),
    "faststream-outbox": Peer(
        requirements=("faststream-outbox[asyncpg]==0.19.0", "uvloop"),
        table="outbox",
        fill="""
            insert into outbox (queue, payload, headers)
            select 'trade', convert_to({content}, 'UTF8'), jsonb_build_object('content-type', 'text/plain')
            """,
        left="select count(*) from outbox",
        tuned=Way({"max_workers": 30, **_FASTSTREAM}, 10_500),
        keeps="nothing",
        posting=Way({"max_workers": 4, **_FASTSTREAM}, 1_000),
        sixteen=Way({"max_workers": 16, **_FASTSTREAM}, 620),
    ),
    "procrastinate": Peer(
        requirements=("procrastinate==3.10.0", "psycopg[binary]"),
        table="procrastinate_jobs",
        fill="""
            insert into procrastinate_jobs (queue_name, task_name, args)
            select 'default', 'trade', jsonb_build_object('content', {content})
            """,
        left="select count(*) from procrastinate_jobs where status <> 'succeeded'",
        tuned=Way({"concurrency": 30}, 500),
        keeps="the job and its events",
    ),
}


def module_of(name: str) -> str:
    """The distribution ``faststream-outbox`` is driven by ``benchmarks.peers.faststream_outbox``."""
    return f"benchmarks.peers.{name.replace('-', '_')}"
