"""Blocked keys in stretches: however few messages a stretch looks at, each blocked key comes once, and no other one."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from relay import reports
from relay.database import Database
from relay.reports import NEWEST, Cursor
from relay.reports.keys import BlockedKeyLine
from relay.reports.stretches import Stretch

# Of each key up to nine messages; the first is due, in a day, or held, by the number of the key. Where it is due, later
# ones wait, which blocks nothing.
MANY = """
insert into relay.outbox (topic, content, account, ordering_key, available_at)
select 't', '{}', 'shop-' || key % 3, 'key-' || key,
    case when (n = 1) = (key % 4 > 1) then now() + interval '1 day' else '-infinity' end
from generate_series(1, 9) n, generate_series(1, 24) key
where n <= key % 9 + 1
order by n, key
"""
HELD = """
update relay.outbox set available_at = 'infinity', error_code = 'relay.timeout'
where available_at > now() and substr(ordering_key, 5)::int % 2 = 1
"""
BLOCKED = """
select account, ordering_key from (
    select distinct on (account, ordering_key) account, ordering_key, available_at > now() as blocked
    from relay.outbox where ordering_key is not null order by account, ordering_key, id) as head
where blocked order by account, ordering_key
"""


def walked(engine: Engine, cursor: Cursor, limit: int, most_looked: int) -> list[Stretch[BlockedKeyLine]]:
    """From there to the end, in the direction of the cursor."""
    stretches = list[Stretch[BlockedKeyLine]]()
    while len(stretches) < 500:
        with Database(engine).reading() as connection:
            found = reports.blocked_keys(connection, cursor, limit=limit, most_looked=most_looked)
        stretches.append(found)
        onward = found.newer if cursor.newer else found.older
        if onward is None:
            return stretches
        cursor = Cursor(onward, newer=cursor.newer)
    raise AssertionError("it leads nowhere")


@pytest.mark.parametrize("few", [3, 1_000])
@pytest.mark.parametrize("limit", [1, 4, 50])
@pytest.mark.parametrize("most_looked", [1, 2, 7, 40, 1_000])
def test_each_blocked_key_comes_once_in_both_directions(
    engine: Engine, limit: int, most_looked: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.reports.keys.FEW", few)
    with engine.begin() as connection:
        connection.execute(text(MANY))
        connection.execute(text(HELD))
        expected = [tuple(row) for row in connection.execute(text(BLOCKED))]
    assert len(expected) == 12
    down = walked(engine, NEWEST, limit, most_looked)
    assert [(line.account, line.ordering_key) for found in down for line in found.lines] == expected
    up = walked(engine, Cursor(("~", "~"), newer=True), limit, most_looked)[::-1]
    assert [(line.account, line.ordering_key) for found in up for line in found.lines] == expected
    if limit == 50:
        assert any(found.looked_to for found in down) == (most_looked < 100)
    assert all(len(found.lines) <= limit for found in down + up)
