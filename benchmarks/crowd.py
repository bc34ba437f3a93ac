"""What waits, failed of late and is paused in a large database: some hundred accounts, with and without ordering keys.

Of ten pending messages six are due, three wait for their time or a retry and one is held for a person; half of them
have an ordering key, four a key. One message was tried a hundred times, one call is open for each fifth account.
Made without triggers, by a superuser, beside a history (see ``benchmarks.history``).
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from benchmarks.ground import CONTENT, QUICKLY, TOPIC

ACCOUNTS = 400
MUCH_TRIED = 100  # attempts of one message

_PENDING = f"""
insert into relay.outbox (topic, content, account, ordering_key, available_at, created_at, attempts, error_code,
    created_by, content_sha256)
select '{TOPIC}', content, 'shop-' || n / 8 % {ACCOUNTS}, case when n / 4 % 2 = 0 then 'order-' || n / 8 end,
    case when tenth < 6 then born when tenth < 9 then now() + make_interval(mins => cast(1 + n % 1440 as integer))
        else 'infinity' end,
    born, case when tenth = 8 then 2 else 0 end, case when tenth = 8 then 'isp.call-limited' end,
    'shop', sha256(convert_to(cast(content as text), 'UTF8'))
from (select n, {CONTENT} as content, n / 4 % 10 as tenth,
          now() - make_interval(secs => 3600.0 * (:messages - n) / :messages) as born
      from generate_series(cast(:from as bigint), cast(:messages as bigint)) as n order by n offset 0) as made
"""

_MUCH_TRIED = f"""
insert into relay.call (account, worker, message_ids, claimed_at, lease_until, sent_at, settled_at, outcome,
    http_status, error_code, error_message, request_bytes, duration_ms, nonce)
select 'shop-1', 'host:4711:1', array[tried.id], at, at + interval '60 s', at, at + interval '1 s', 'rejected', 200,
    'isp.call-limited', 'not now', 2000, 80, 0
from (select max(id) as id from relay.outbox where status = 'done') as tried
cross join lateral (
    select now() - make_interval(mins => 5 * cast(n as integer)) as at
    from generate_series({MUCH_TRIED}, 1, -1) as n) as times;
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message, at)
select message_ids[1], id, 0, 'retry', error_code, error_message, settled_at
from relay.call order by id desc limit {MUCH_TRIED}
"""

_OPEN_CALLS = f"""
insert into relay.call (account, worker, message_ids, lease_until, sent_at, nonce)
select account, 'host:4711:' || row_number() over () % 4, ids[1:50], now() + interval '1 minute', now(), 0
from (select account, array_agg(id order by id) as ids from relay.outbox
      where status = 'pending' and ordering_key is null and available_at <= now()
        and cast(substr(account, 6) as integer) % {ACCOUNTS // 80} = 0 group by account) as due
"""

_PAUSES = f"""
insert into relay.pause (scope, until, reason, error_code, by, db_user)
select 'account:shop-' || n * 7, case when n % 2 = 0 then now() + interval '1 day' end, 'asked by the shop',
    null, 'ann', 'ann' from generate_series(1, {ACCOUNTS // 20}) as n;
insert into relay.pause_past (scope, until, reason, since, by, ended_at, ended_by, ended)
select 'account:shop-' || n % {ACCOUNTS}, null, 'asked by the shop', at, 'ann', at + interval '1 hour', 'ann', 'lifted'
from (select n, now() - make_interval(hours => cast(n as integer)) as at from generate_series(2, 2000) as n) as past
"""


def gather(connection: Connection, messages: int) -> None:
    """So many messages wait, some are in flight, some accounts paused; one message had a hard time."""
    connection.exec_driver_sql(QUICKLY)
    add_pending(connection, 1, messages)
    for part in (_MUCH_TRIED, _OPEN_CALLS, _PAUSES):
        for statement in part.split(";\n"):
            connection.execute(text(statement))


def add_pending(connection: Connection, first: int, last: int) -> None:
    """Those from the first to the last of the crowd, both included."""
    connection.exec_driver_sql(QUICKLY)
    connection.execute(text(_PENDING), {"from": first, "messages": last})
