"""A long history for whoever reads it: finished messages of some months, the older ones of them archived.

Three messages an order, two a transaction; unless a ``Shape`` says otherwise five a call, one in a hundred failed; one
in fifty was tried before, one in a thousand may have arrived twice. A tenth as many were pruned before, of which the
ledger tells. What is pending is a day's rest. Made without triggers, by a superuser; ``salted`` says whether the tables
are those of revision 0008.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sqlalchemy import Connection, text

from benchmarks.ground import CONTENT, QUICKLY

_PENDING = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """``days``: how far back it goes. Of so many messages one failed, with one of so many ``codes``."""

    archived: Fraction = Fraction(1, 2)
    days: int = 60
    per_call: int = 5
    failed_one_in: int = 100
    codes: int = 1


# ``first`` is the first id there is: those below it were pruned.
_MADE = """
create temp table made as
select n,
    case n % 4 when 0 then 'taobao_jds_TradeTrace' when 1 then 'taobao_jds_TradeTrace' when 2 then 'shop_Refund'
        else 'shop_Stock' end as topic,
    'shop-' || (n / {per_call}) % 20 as account, cast(1234500000000 + n / 3 as text) as ordering_key,
    case when n % 4 = 0 then 'once-' || n end as dedupe_key,
    now() - make_interval(secs => 86400.0 * {days} * (:first + :messages - 2 * (n / 2)) / :messages) as created_at,
    now() - make_interval(secs => 86400.0 * {days} * (:first + :messages - {per_call} * (n / {per_call})) / :messages)
        + interval '3 s' as finished_at,
    cast(cast(1000 + n / 2 as text) as xid8) as created_xid,
    1 + n / {per_call} as call_id, case when n % {failed_one_in} = 8 then 'failed' else 'done' end as status,
    n < :old as old, uuid_send(gen_random_uuid()) as salt
from generate_series(cast(:first as bigint), cast(:first + :messages - 1 as bigint)) as n
"""

_MONTHS = """
select relay.open_archive(cast(month as date)) from generate_series(
    date_trunc('month', (select min(finished_at) from made) at time zone 'UTC'),
    date_trunc('month', (select max(finished_at) from made) at time zone 'UTC'), interval '1 month') as month
"""

_CODE = "concat('isv.not-authorised', '-' || nullif(n / {failed_one_in} % {codes}, 0))"
_MESSAGES = """
insert into relay.{table} (id, topic, content, account, ordering_key, dedupe_key, available_at, producer, status,
    attempts, call_id, result_index, error_code, error_message, created_at, finished_at, created_by, created_xid,
    content_sha256 {more})
{overriding}
select n, topic, content, account, ordering_key, dedupe_key, created_at, 'shop-api', status,
    1, call_id, n % {per_call}, case when status = 'failed' then {code} end,
    case when status = 'failed' then 'the topic is not authorised for 13812345678' end, created_at, finished_at,
    'shop', created_xid, sha256({salt} convert_to(cast(content as text), 'UTF8')) {also}
from (select made.*, {content} as content from made where old = {old} order by n offset 0) as filled
"""

_PENDING_MESSAGES = f"""
insert into relay.outbox (topic, content, account, ordering_key, created_by, content_sha256)
select 'taobao_jds_TradeTrace', '{{}}', 'shop-1', 'open-' || n, 'shop', sha256('{{}}')
from generate_series(1, {_PENDING}) n
"""

_CALLS = """
insert into relay.{table} (id, account, worker, message_ids, claimed_at, lease_until, sent_at, settled_at, outcome,
    http_status, request_id, request_bytes, duration_ms {more})
{overriding}
select call_id, min(account), 'host:4711:' || call_id % 4, array_agg(n order by n), max(finished_at) - interval '1 s',
    max(finished_at) + interval '59 s', max(finished_at) - interval '0.9 s', max(finished_at), 'ok', 200,
    'r' || md5(cast(call_id as text)), 2000, 80 {also}
from made group by call_id having bool_or(old) = {old} order by call_id
"""

# One that came to nothing before: each message alone.
_EARLIER = """
insert into relay.{table} (id, account, worker, message_ids, claimed_at, lease_until, sent_at, settled_at, outcome,
    http_status, error_code, error_message, request_bytes, duration_ms {more})
{overriding}
select 1000000000 + n, account, 'host:4711:1', array[n], created_at, created_at + interval '60 s', created_at,
    created_at + interval '1 s', case when n % 1000 = 0 then 'unknown' else 'rejected' end, 200,
    'isp.call-limited', 'not now', 2000, 80 {also}
from made where n % 50 = 0 and old = {old} order by n
"""

_ATTEMPTS = """
insert into relay.{table} (message_id, call_id, result_index, outcome, error_code, error_message, at {more})
select n, 1000000000 + n, 0, case when n % 1000 = 0 then 'unknown' else 'retry' end, 'isp.call-limited', 'not now',
    created_at + interval '1 s' {also} from made where n % 50 = 0 and old = {old}
union all
select n, call_id, n % {per_call}, 'failed', {code}, 'the topic is not authorised', finished_at {also}
from made where status = 'failed' and old = {old}
"""

_LEDGER = """
insert into relay.action (at, actor, action, reason, selection, message_ids, count)
select now() - interval '59 days', 'ann', 'prune', 'retention', json_build_object('table', 'outbox',
    'before', now() - interval '60 days', 'attempts', 0, 'zone', 'Asia/Shanghai', 'days', json_build_object(
        cast(date(now() - interval '61 days') as text),
        json_build_object('inserted', 1000, 'done', 1000, 'failed', 0, 'unknown', 0))),
    array(select generate_series(page * 1000 + 1, least(page * 1000 + 1000, :first - 1))), 1000
from generate_series(0, (:first - 2) / 1000) as page
union all
select now() - interval '1 day', 'cron', 'archive', 'older than 30 days', json_build_object('table', 'outbox',
    'before', now() - interval '31 days', 'first_id', page, 'last_id', page + 999, 'attempts', 20), null, 1000
from generate_series(cast(:first as bigint), cast(:old as bigint), 1000) as page
union all
select now() - make_interval(hours => cast(n as integer)), 'ann', 'retry', 'the platform is back',
    json_build_object('given', 50), array(select generate_series(:first + n * 50, :first + n * 50 + 49)), 50
from generate_series(1, 1000) as n
"""

_ORDERS = """
create table if not exists public.orders (tid bigint primary key, created_at timestamptz not null);
insert into public.orders
select cast(ordering_key as bigint), min(created_at) from made group by ordering_key
union all
select 9000000000000 + n, now() - make_interval(secs => 86400.0 * 60 * n / 1000) from generate_series(1, 1000) as n;
create index on public.orders (created_at)
"""


def remember(
    connection: Connection, messages: int, shape: Shape = Shape(), *, salted: bool = True, orders: bool = True
) -> None:
    """Fill empty tables with this many finished messages; statistics are the caller's to take.

    ``orders``: also the table that an application would have beside them.
    """
    first = messages // 10 + 1
    given = {"first": first, "messages": messages, "old": first + int(messages * shape.archived)}
    words: dict[str, object] = {name: getattr(shape, name) for name in ("days", "per_call", "failed_one_in", "codes")}
    words |= {"content": CONTENT, "code": _CODE.format(**words)}

    def run(statement: str, **more: object) -> None:
        asked = statement.format(**words, **more) if more else statement
        bound = {name: value for name, value in given.items() if f":{name}" in asked}
        for one in asked.split(";\n"):
            connection.execute(text(one), bound)

    connection.exec_driver_sql(QUICKLY)
    run(_MADE.format(**words))
    run(_MONTHS)
    for part, old in (("_archive", True), ("", False)):
        where = {"old": old, "overriding": "" if old else "overriding system value"}
        salt = {"more": ", content_salt", "salt": "salt ||", "also": ", salt"} if salted else {}
        run(_MESSAGES, table=f"outbox{part}", **({"more": "", "salt": "", "also": ""} | salt), **where)
        columns = (["nonce"] if salted else []) + (["finished_at"] if old else [])
        values = {"nonce": "0", "finished_at": "max(finished_at)"}
        names = {"more": "".join(f", {name}" for name in columns)}
        run(_CALLS, table=f"call{part}", also="".join(f", {values[name]}" for name in columns), **names, **where)
        values["finished_at"] = "finished_at"
        run(_EARLIER, table=f"call{part}", also="".join(f", {values[name]}" for name in columns), **names, **where)
        time = ", finished_at" if old else ""
        run(_ATTEMPTS, table=f"attempt{part}", more=time, also=time, old=old)
    run("select setval('relay.outbox_id_seq', (select max(id) from relay.outbox))")
    run("select setval('relay.call_id_seq', (select max(id) from relay.call))")
    run(_PENDING_MESSAGES)
    run(_LEDGER)
    if orders:
        run(_ORDERS)
    run("drop table made")
