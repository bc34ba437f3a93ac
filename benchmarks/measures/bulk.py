"""What do ten thousand messages in one transaction cost the application? ``add_many`` beside other ways.

By psycopg, from dicts to the commit, in microseconds of the clock a message; contents are written as JSON by everybody.
The first line is the statement that ``add_many`` uses, written by hand without checks, defaults and positions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg

import relay
from benchmarks.effort import Effort
from benchmarks.ground import TOPIC, Ground, conninfo
from benchmarks.table import Cells, Table, in_turn

_MESSAGES = 10_000
_KEYS = 1_000

Messages = Sequence[Mapping[str, Any]]
Write = Callable[[psycopg.Connection[Any], Messages], object]


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    for title, key in (("without keys", None), ("with ordering keys", "ordering_key")):
        messages = [_message(n, key) for n in range(_MESSAGES)]
        contenders = {name: partial(_run, ground, write, messages) for name, write in WRITERS.items()}
        rows = in_turn(contenders, 2 * effort.repeats + 1)
        yield Table(f"{_MESSAGES:,} messages in one transaction, {title}", rows)


def _run(ground: Ground, write: Write, messages: Messages) -> Cells:
    with ground.fresh() as url, psycopg.connect(conninfo(url)) as connection:
        connection.execute("select from relay.outbox")
        connection.commit()
        begun = time.perf_counter()
        write(connection, messages)
        connection.commit()
        return {"µs a message": (time.perf_counter() - begun) / len(messages) * 1e6}


def _message(n: int, key: str | None) -> Mapping[str, Any]:
    content = {
        "tid": 1234500000000 + n,
        "order_ids": "1234554321,1234554322",
        "status": "X_PACKAGED",
        "action_time": "2026-11-23 12:00:00",
        "operator": "王小二",
        "remark": f"packed at station {n % 40}",
        "seller_nick": "a_seller_of_many_things",
        "warehouse": f"hangzhou-{n % 7}",
        "sequence": n,
    }
    return {"topic": TOPIC, "content": content} | ({key: f"k{n % _KEYS}"} if key else {})


def _unnest(connection: psycopg.Connection[Any], messages: Messages, placeholder: str = "%s") -> object:
    names = tuple(messages[0])
    arrays = ", ".join(f"{placeholder}::text[]" for _ in names)
    values = ", ".join("content::json" if name == "content" else name for name in names)
    columns = list(zip(*_rows(messages), strict=True))
    statement = (
        f"insert into relay.outbox ({', '.join(names)}) select {values} from unnest({arrays}) m ({', '.join(names)})"
    )
    return connection.execute(f"{statement} returning id", [list(column) for column in columns]).fetchall()


def _executemany(connection: psycopg.Connection[Any], messages: Messages) -> None:
    names = tuple(messages[0])
    values = ", ".join("%s" for _ in names)
    with connection.cursor() as cursor:
        cursor.executemany(f"insert into relay.outbox ({', '.join(names)}) values ({values})", _rows(messages))


def _copy(connection: psycopg.Connection[Any], messages: Messages) -> None:
    copying = f"copy relay.outbox ({', '.join(messages[0])}) from stdin"
    with connection.cursor() as cursor, cursor.copy(copying) as copy:
        for row in _rows(messages):
            copy.write_row(row)


def _add(connection: psycopg.Connection[Any], messages: Messages) -> None:
    for message in messages:
        relay.add(connection, **message)


def _rows(messages: Messages) -> list[tuple[str, ...]]:
    return [
        tuple(json.dumps(value, ensure_ascii=False) if name == "content" else value for name, value in message.items())
        for message in messages
    ]


WRITERS: Mapping[str, Write] = {
    "insert ... select unnest": _unnest,
    "the same, arrays sent in binary": partial(_unnest, placeholder="%b"),
    "relay.add_many": relay.add_many,
    "COPY": _copy,
    "executemany": _executemany,
    "relay.add for each": _add,
}
