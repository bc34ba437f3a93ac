"""Does a claim cost the same whatever is in the table? EXPLAIN ANALYZE of the relay's own statement, rolled back.

Every state has the same 1,000 ready messages beside what makes it special. Buffers are pages of 8 kB that were looked
at; unlike times they are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from benchmarks.effort import Effort
from benchmarks.ground import CONTENT, Ground, connected, settle_down
from benchmarks.table import Cells, Row, Table
from relay.statements import LOCK_READY, statement

_ROWS = f"""
insert into relay.outbox (topic, content, account, ordering_key, available_at, status, attempts, call_id, result_index,
    finished_at)
select 't', {CONTENT}, {{account}}, {{key}}, now() + make_interval(secs => {{due}}), '{{status}}', 0, {{call}}, 0,
    {{finished}}
from generate_series(1, {{count}}) n
"""
_DONE = {"status": "done", "call": "1", "finished": "now()"}
_FINISH_ALL = """
update relay.outbox set status = 'done', attempts = 1, call_id = 1, result_index = 0, finished_at = now()
"""
_PARAMETERS = {
    "after_account": "",
    "accounts": 8,
    "key_accounts": [],
    "keys": [],
    "skip_accounts": [],
    "batch": 50,
    "slots": 8,
    "failed_holds": False,
}
_SAMPLES = 7

Prepare = Callable[[str, ExitStack], None]


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    rows = [Row(label, _claims(ground, prepare)) for label, prepare in _states(effort).items()]
    yield Table("one claim of 8 x 50, by the state of the table", rows)


def _states(effort: Effort) -> dict[str, Prepare]:
    waiting = effort.waiting_rows
    states: dict[str, Prepare] = {"1,000 ready messages and nothing else": lambda _url, _stack: None}
    for finished in effort.finished_rows:
        states[f"and {finished:,} finished"] = lambda url, _, n=finished: _add(url, n, **_DONE)  # type: ignore[misc]
    return states | {
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
    account: str = "'a'",
    key: str = "null",
    due: str = "0",
    status: str = "pending",
    call: str = "null",
    finished: str = "null",
) -> None:
    named = {"account": account, "key": key, "due": due, "status": status, "call": call, "finished": finished}
    with connected(url) as connection:
        connection.execute(text(_ROWS.format(count=count, **named)))


def _held(url: str, stack: ExitStack, count: int) -> None:
    """Rows that became done while somebody's old transaction keeps vacuum from taking their index entries away."""
    _add(url, count)
    settle_down(url, "relay.outbox")
    holder: Connection = stack.enter_context(create_engine(url, poolclass=NullPool).connect())
    holder.execution_options(isolation_level="REPEATABLE READ").execute(text("select 1 from relay.outbox limit 1"))
    with connected(url) as connection:
        connection.exec_driver_sql(_FINISH_ALL)


def _claims(ground: Ground, prepare: Prepare) -> list[Cells]:
    with ground.fresh() as url, ExitStack() as stack:
        prepare(url, stack)
        _add(url, 1000)
        settle_down(url, "relay.outbox")
        engine = create_engine(url)
        stack.callback(engine.dispose)
        return [_explained(engine.connect()) for _ in range(_SAMPLES)][1:]  # the first one warms the cache


def _explained(connection: Connection) -> Cells:
    explain = text(f"explain (analyze, buffers, format json) {statement(LOCK_READY, 'relay')}")
    with connection:
        (plan,) = connection.execute(explain, _PARAMETERS).scalar_one()
    root = plan["Plan"]
    return {"ms": plan["Execution Time"], "buffers": root["Shared Hit Blocks"] + root["Shared Read Blocks"]}
