"""How long do the questions of docs/audit.md take with two million messages, half of them archived.

Each is asked as it stands, by a login that may read the audit views and nothing else; ids and the like in it are those
of a message that is archived and of one that is not, and the slower of the two counts. Compiling of plans is off, as
the page says. The day that is compared with the platform's own record is a full one, with all that was accepted on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from benchmarks.effort import Effort
from benchmarks.ground import Ground, connected
from benchmarks.history import remember
from benchmarks.table import Cells, Table, in_turn
from relay.roles import RoleNames, roles_sql

_PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
_BLOCK = re.compile(r"^##+ (?P<head>[^\n]+)$|^```(?:sql|sh)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_THE_AUDITORS = ("insert into", "select relay.", "content_is")
_EXAMPLES = r"\b(?:17|22)\b"
_LOGIN = "an_auditor"
_FACTS = """
select 'archived' as place, 1000 + (select min(id) from relay.outbox_archive) as id,
    (select request_id from relay.call_archive where request_id is not null order by id limit 1 offset 100) as request
union all
select 'not archived', 1000 + (select min(id) from relay.outbox where status = 'done'),
    (select request_id from relay.call where request_id is not null order by id limit 1 offset 100)
"""
# A day in the older half and one in the newer: what the platform would have of them is what we have.
_RECORD = """
create temp table platform_record as
select request_id, cast(result_index as integer) as result_index from relay.audit_delivery
where outcome = 'done' and at >= '{begins}' and at < '{ends}';
analyze platform_record
"""


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    with ground.fresh() as url:
        _prepare(url, effort.audited)
        asked = {label: partial(_slower, url, question, effort) for label, question in questions().items()}
        title = f"the questions of docs/audit.md, {effort.audited:,} messages, half of them archived"
        yield Table(title, in_turn(asked, 1), compared=False)


def questions() -> dict[str, str]:
    """Heading (and which one below it) -> what an auditor asks."""
    found: dict[str, str] = {}
    head, number = "", 0
    for block in _BLOCK.finditer(_PAGE.read_text(encoding="utf-8")):
        if block["head"]:
            head, number = block["head"], 0
            continue
        question = _in_psql(block["text"]) if "<<'SQL'" in block["text"] else block["text"]
        if "relay." not in question or any(words in question for words in _NOT_THE_AUDITORS) or "exported" in question:
            continue
        if question.lstrip().startswith(("select", "with")):
            number += 1
            found[f"{head} ({number})" if number > 1 else head] = question
    return found


def _in_psql(script: str) -> str:
    """The question itself, behind what loads the file."""
    found = re.search(r"^select request_id.*?;", script, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def _prepare(url: str, messages: int) -> None:
    names = RoleNames()
    with connected(url) as connection:
        remember(connection, messages)
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(roles_sql(names).replace("%", "%%"))
        connection.exec_driver_sql(f"create role {_LOGIN} login password 'p' in role {names.auditor}")
        connection.exec_driver_sql(f"grant select on public.orders to {names.auditor}")
        connection.exec_driver_sql("vacuum (analyze)")


def _slower(url: str, question: str, effort: Effort) -> Cells:
    """The best of some times each, the slower place."""
    with connected(url) as connection:
        places = connection.execute(text(_FACTS)).all()
        days = {
            row.place: connection.execute(
                text("select date_trunc('day', created_at), date_trunc('day', created_at) + interval '1 day' "
                     "from relay.audit_message where id = :id"), {"id": row.id + effort.audited // 4},
            ).one()
            for row in places
        }  # fmt: skip
    with create_engine(make_url(url).set(username=_LOGIN, password="p"), poolclass=NullPool).connect() as auditor:
        auditor.exec_driver_sql("set jit = off")
        found = []
        for row in places:
            begins, ends = days[row.place]
            if "platform_record" in question:
                for statement in _RECORD.format(begins=begins, ends=ends).split(";\n"):
                    auditor.exec_driver_sql(statement)
            asked = _of(question, row.id, row.request, str(begins), str(ends))
            found.append(min(_timed(auditor, asked) for _ in range(effort.repeats)))
            if "platform_record" in question:
                auditor.exec_driver_sql("drop table platform_record")
            auditor.commit()
    seconds, rows = max(found)
    return {"ms": seconds * 1000, "rows": rows}


def _of(question: str, id_: int, request: str, begins: str, ends: str) -> str:
    asked = re.sub(_EXAMPLES, str(id_), question)
    for example, real in {
        "15r3nxoq4": request,
        "'4213000001'": f"'{1234500000000 + id_ // 3}'",
        "2026-11-11 00:00+08": begins,
        "2026-11-12 00:00+08": ends,
    }.items():
        asked = asked.replace(example, real)
    return asked


def _timed(auditor: Connection, question: str) -> tuple[float, int]:
    started = time.perf_counter()
    rows = len(auditor.exec_driver_sql(question).all())
    return time.perf_counter() - started, rows
