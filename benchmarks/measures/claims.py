"""Does a claim cost the same whatever is in the table? One worker's store claims and settles, again and again.

Every state has the same ready messages beside what makes it special. The time is that of the whole claim with its
commit; pages of 8 kB are all that the server looked at for it, and unlike times they are nearly the same on every
machine. A worker learns in its first claims where to look, so those are told apart.

What is special is filled without triggers and with a hash of nothing. Finished messages have an empty content, for no
claim looks at them; where claims do look, messages have the usual size. Pages, index entries and WAL are real.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from benchmarks.effort import Effort
from benchmarks.ground import CONTENT, QUICKLY, Ground, connected, settle_down
from benchmarks.table import Cells, Row, Table
from relay.message import ACCEPTED, Answered
from relay.outcomes import Policy, decide
from relay.store import Claim, ClaimLimits, Store

_ROWS = """
insert into relay.outbox (topic, content, account, ordering_key, available_at, status, attempts, call_id, result_index,
    finished_at, content_sha256)
select 't', {content}, {account}, {key}, now() + make_interval(secs => {due}), '{status}', 0, {call}, 0, {finished},
    sha256('')
from generate_series(1, {count}) n
"""
_ALL_THE_SAME = f"(select {CONTENT} from (values (1)) one (n))"
_DONE = {"content": "'{}'", "status": "done", "call": "1", "finished": "now()"}
_FINISH_ALL = """
update relay.outbox set status = 'done', attempts = 1, call_id = 1, result_index = 0, finished_at = now()
"""
_SLOTS, _BATCH = 8, 50
_LEARNING, _SAMPLES = 3, 7
_READY = _SLOTS * _BATCH * (_LEARNING + _SAMPLES)

Prepare = Callable[[str, ExitStack], None]


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    rows = [Row(label, _claims(ground, prepare)) for label, prepare in _states(effort).items()]
    yield Table("one claim of 8 x 50, by the state of the table", rows)


def _states(effort: Effort) -> dict[str, Prepare]:
    waiting = effort.waiting_rows
    states: dict[str, Prepare] = {f"{_READY:,} ready messages and nothing else": lambda _url, _stack: None}
    return states | {
        f"and {effort.finished_rows:,} finished": lambda url, _: _add_finished(url, effort.finished_rows),
        f"and {waiting:,} waiting for a retry": lambda url, _: _add(url, waiting, due="86400 + n"),
        "and 10,000 accounts with one message": lambda url, _: _add(url, 10_000, account="'b' || n"),
        f"and one ordering key with {waiting:,}": lambda url, _: _add(url, waiting, key="'hot'"),
        f"and {waiting:,} ordering keys": lambda url, _: _add(url, waiting, key="'k' || n"),
        f"and {effort.held_rows:,} done under a held horizon": lambda url, stack: _held(url, stack, effort.held_rows),
    }


def _add(
    url: str,
    count: int,
    *,
    content: str = CONTENT,
    account: str = "'a'",
    key: str = "null",
    due: str = "0",
    status: str = "pending",
    call: str = "null",
    finished: str = "null",
) -> None:
    columns = {"account": account, "key": key, "due": due, "status": status, "call": call, "finished": finished}
    with connected(url) as connection:
        connection.exec_driver_sql(QUICKLY)
        connection.execute(text(_ROWS.format(count=count, content=content, **columns)))


def _add_finished(url: str, count: int) -> None:
    """In two halves at the same time, because they are many."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: _add(url, count // 2, **_DONE), range(2)))


def _held(url: str, stack: ExitStack, count: int) -> None:
    """Rows that became done while somebody's old transaction keeps vacuum from taking their index entries away."""
    _add(url, count, content=_ALL_THE_SAME)
    holder: Connection = stack.enter_context(create_engine(url, poolclass=NullPool).connect())
    holder.execution_options(isolation_level="REPEATABLE READ").execute(text("select 1 from relay.outbox limit 1"))
    with connected(url) as connection:
        connection.exec_driver_sql(QUICKLY)
        connection.exec_driver_sql(_FINISH_ALL)


def _claims(ground: Ground, prepare: Prepare) -> list[Cells]:
    with ground.fresh() as url, ExitStack() as stack:
        prepare(url, stack)
        _add(url, _READY)
        settle_down(url, "relay.outbox")
        engine = create_engine(url)
        stack.callback(engine.dispose)
        store, claims = Store(engine, worker="w", lease_seconds=60), []
        for _ in range(_LEARNING + _SAMPLES):
            before, started = _pages(engine), time.monotonic()
            claim = store.claim(ClaimLimits(slots=_SLOTS, batch_size=_BATCH))
            milliseconds = (time.monotonic() - started) * 1000
            claims.append({"ms": milliseconds, "pages": _pages(engine) - before})
            _settle(store, claim)
    slowest = max(cells["ms"] for cells in claims[:_LEARNING])
    return [cells | {"ms while learning": slowest} for cells in claims[_LEARNING:]]


def _settle(store: Store, claim: Claim) -> None:
    answers = [(batch, Answered((ACCEPTED,) * len(batch), "zzp0c5fj10y3", 200)) for batch in claim.batches]
    store.settle([decide(batch, answer, Policy(), random.Random(1)) for batch, answer in answers], {})


def _pages(engine: Engine) -> int:
    """Looked at in this database so far. Asked on the one connection in the pool, which is the store's."""
    with engine.connect() as connection:
        connection.exec_driver_sql("select pg_stat_force_next_flush()")
        connection.commit()
        looked_at = "select blks_hit + blks_read from pg_stat_database where datname = current_database()"
        return int(connection.exec_driver_sql(looked_at).scalar_one())
