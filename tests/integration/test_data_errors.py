"""What one message or one call has in it stops no other: nothing sent stays unsettled, nothing else stands still.

Databases in other encodings than UTF-8, answers that no column can hold, rows that cannot be read, triggers and
constraints of somebody else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, text

import relay
from relay import events
from relay.errors import UnsettledError
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from relay.worker import Until
from tests.fixtures.database import Server
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted, accept
from tests.fixtures.telling import statements_of
from tests.fixtures.waiting import eventually_async

EMOJI = "\U0001f600 \u4e2d\u6587"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def template(postgres: Server, encoding: str) -> Iterator[str]:
    """The name of a database in that encoding, with the relay's schema."""
    with postgres.fresh_database(encoding=encoding) as name:
        relay.migrate(postgres.url(name))
        yield name


@pytest.fixture(scope="module")
def template_sql_ascii(postgres: Server) -> Iterator[str]:
    yield from template(postgres, "SQL_ASCII")


@pytest.fixture(scope="module")
def template_euc_cn(postgres: Server) -> Iterator[str]:
    yield from template(postgres, "EUC_CN")


def copy_of(template: str, postgres: Server) -> Iterator[Engine]:
    with postgres.fresh_database(template) as name:
        made = create_engine(postgres.url(name), connect_args={"client_encoding": "utf8"})
        yield made
        made.dispose()


@pytest.fixture
def sql_ascii(template_sql_ascii: str, postgres: Server) -> Iterator[Engine]:
    yield from copy_of(template_sql_ascii, postgres)


@pytest.fixture
def euc_cn(template_euc_cn: str, postgres: Server) -> Iterator[Engine]:
    yield from copy_of(template_euc_cn, postgres)


def refused_with(text: str) -> Callable[[Batch], Answer]:
    def play(batch: Batch) -> Answer:
        results = [Result(Fault.MESSAGE, text, text), *[ACCEPTED] * (len(batch) - 1)]
        return Answered(tuple(results), request_id=text, http_status=200)

    return play


async def test_an_answer_that_the_database_has_no_characters_for_is_settled(euc_cn: Engine) -> None:
    rows = Rows(euc_cn)
    added = rows.add(60)
    producer = Scripted(refused_with(EMOJI))
    bench = Bench(euc_cn, producer, batch_size=30, concurrency=2)
    report = await bench.drain()
    assert producer.produced == dict.fromkeys(added, 1)
    assert (report.done, report.failed, report.lost_calls) == (58, 2, 0)
    kept = rows.read("select distinct error_message from relay.outbox where status = 'failed'")
    assert [row.error_message for row in kept] == [r"\U0001f600 中文"]
    assert not bench.told(events.CallRefused)


@pytest.mark.parametrize("column", ["topic", "account", "ordering_key", "json_ex_content"])
async def test_a_message_that_is_not_in_the_clients_encoding_fails_by_name(sql_ascii: Engine, column: str) -> None:
    rows = Rows(sql_ascii)
    good = rows.add(120) + rows.add(3, key="k") + rows.add(2, account="b")
    values = {"topic": "'t'", "content": "'{}'", "account": "'default'", "ordering_key": "null"}
    gbk = r"convert_from('\xd6d0cec4', 'sql_ascii')"
    values[column] = f"cast('{{\"a\": \"' || {gbk} || '\"}}' as json)" if "json" in column else gbk
    bad = [
        rows.one(f"insert into relay.outbox ({', '.join(values)}) values ({', '.join(values.values())}) returning id")
        for _ in range(2)
    ]
    producer = Scripted()
    bench = Bench(sql_ascii, producer)
    report = await bench.drain()
    assert producer.produced == dict.fromkeys(good, 1)
    assert (report.done, report.failed) == (125, 2)
    failed = rows.read("select id, error_code from relay.outbox where status = 'failed' order by id")
    assert [tuple(row) for row in failed] == [(id_, "relay.unreadable") for id_ in bad]
    assert [told.message_id for told in bench.told(events.MessageUnreadable)] == bad


@pytest.mark.parametrize("code", ["漢" * 1000, "x" * 5000, "\ud800\0", "''; --", '{NULL,"\\'])
async def test_codes_and_texts_of_any_length_are_settled(rows: Rows, engine: Engine, code: str) -> None:
    rows.add(3)
    bench = Bench(engine, Scripted(refused_with(code)))
    report = await bench.drain()
    assert (report.done, report.failed) == (2, 1)
    assert not bench.told(events.CallRefused)


async def test_incompressible_codes_fit_their_index(rows: Rows, engine: Engine) -> None:
    rows.add(2)
    code = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(1000))
    bench = Bench(engine, Scripted(refused_with(code)))
    assert (await bench.drain()).done == 1
    assert not bench.told(events.CallRefused)


@pytest.mark.parametrize(
    "answer",
    [
        Refused(Fault.PROVIDER, "x", http_status=70_000, request_bytes=2**40),
        Refused(Fault.THROTTLED, "7", pause_seconds=1e300),
        Refused(Fault.PROVIDER, "x", http_status=-(10**30)),
    ],
    ids=["status and bytes", "pause", "negative"],
)
def test_numbers_that_no_column_can_hold_are_settled(rows: Rows, engine: Engine, answer: Refused) -> None:
    rows.add(2)
    store = Store(engine, worker="w", lease_seconds=60)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    policy = Policy(retry_base_seconds=1e18, retry_max_seconds=1e300)
    sent = {batch.call_id: (time.monotonic(), 1e12)}
    settled = store.settle([decide(batch, answer, policy, random.Random(1))], sent)
    assert settled.lost == frozenset()
    assert rows.calls()[0].outcome == "rejected"


REFUSING = """
create function refuse() returns trigger language plpgsql as $$
begin
    if new.account = 'poison' then raise exception 'not this one' using errcode = '{state}'; end if;
    return new;
end $$;
create trigger refusing before update on relay.call for each row when (new.settled_at is not null)
    execute function refuse()
"""


@pytest.mark.parametrize("state", ["P0001", "22023", "23505", "42501", "54000", "XX000"])
async def test_a_call_that_cannot_be_settled_stops_no_other_and_is_tried_again(
    rows: Rows, engine: Engine, state: str
) -> None:
    """Its messages are not sent again: its lease runs anew until somebody mends the reason."""
    poison = rows.add(2, account="poison")
    good = rows.add(200, account="good")
    rows.run(REFUSING.format(state=state))
    producer = Scripted()
    bench = Bench(engine, producer, lease_seconds=2.0, concurrency=2, batch_size=10)

    async def good_is_done() -> bool:
        return rows.counts() == {"done": len(good), "pending": len(poison)} and len(bench.told(events.CallRefused)) > 2

    async def all_is_done() -> bool:
        return rows.counts() == {"done": len(good) + len(poison)}

    async with bench.running():
        await eventually_async(good_is_done)
        more = rows.add(5, account="good")
        good += more
        await eventually_async(good_is_done)
        rows.run("drop trigger refusing on relay.call")
        await eventually_async(all_is_done)
    assert producer.produced == dict.fromkeys(poison + good, 1)
    assert {told.account for told in bench.told(events.CallRefused)} == {"poison"}
    assert rows.one("select count(*) from relay.attempt") == 0


async def test_while_nothing_can_be_settled_no_more_is_sent_than_there_are_slots(rows: Rows, engine: Engine) -> None:
    rows.add(100, account="poison")
    rows.run(REFUSING.format(state="42501"))
    producer = Scripted()
    bench = Bench(engine, producer, concurrency=3, batch_size=1, grace_seconds=0.5)

    async def refused() -> bool:
        return bool(bench.told(events.CallRefused))

    async def no_faster_than_the_first_try() -> None:
        """However long that takes: until then nobody can know."""
        if len(producer.calls) > 3:
            await eventually_async(refused)

    producer.inside = no_faster_than_the_first_try
    with pytest.raises(UnsettledError, match=r"calls that were made are not settled: .* not this one"):
        await bench.drain()
    assert len(producer.calls) <= 12  # what ended while the first were tried, and as many again
    assert rows.one("select count(*) from relay.call where settled_at is null") == len(producer.calls)
    assert len(bench.told(events.CallRefused)) < 100  # it waits between two tries


@pytest.mark.parametrize("at_once", [100, 1])
async def test_a_lapsed_call_that_cannot_be_settled_stops_no_other(
    rows: Rows, engine: Engine, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do as many of them as are recovered at once stop those that lapsed after them."""
    monkeypatch.setattr("relay.store._LAPSED_AT_ONCE", at_once)
    rows.add(1, account="poison")
    rows.add(1, account="good")
    Store(engine, worker="dead", lease_seconds=60).claim(ClaimLimits(slots=2))
    rows.lapse_leases()
    rows.run("update relay.call set lease_until = lease_until - interval '1 hour' where account = 'poison'")
    rows.run(REFUSING.format(state="22023"))
    bench = Bench(engine, Scripted())

    async def good_is_done() -> bool:
        return rows.counts() == {"done": 1, "pending": 1}

    async with bench.running() as task:
        await eventually_async(good_is_done)
        assert not task.done()
    assert {(told.stage, told.call_id is None) for told in bench.told(events.DatabaseRefused)} == {("recover", False)}


async def test_a_claim_that_is_refused_for_no_message_is_tried_again(rows: Rows, engine: Engine) -> None:
    """A sequence that fell behind, a constraint of somebody else: nothing was sent, so waiting costs nothing."""
    rows.add(3)
    rows.run(
        REFUSING.format(state="23505")
        .replace("before update", "before insert")
        .replace(" when (new.settled_at is not null)", "")
    )
    rows.run("update relay.outbox set available_at = available_at where false")
    rows.run("alter table relay.call add constraint nobody check (account <> 'default')")
    bench = Bench(engine, Scripted())

    async def told() -> bool:
        return len(bench.told(events.DatabaseRefused)) > 2

    async with bench.running() as task:
        await eventually_async(told)
        assert not task.done()
        rows.run("alter table relay.call drop constraint nobody")

        async def all_is_done() -> bool:
            return rows.counts() == {"done": 3}

        await eventually_async(all_is_done)
    assert {told.stage for told in bench.told(events.DatabaseRefused)} == {"claim"}
    assert "nobody" in bench.told(events.DatabaseRefused)[0].error


async def test_leases_that_cannot_be_extended_end_no_call(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    producer = Scripted(gated=True)
    bench = Bench(engine, producer, lease_seconds=1.0)
    rows.run(
        REFUSING.format(state="42501")
        .replace("'poison'", "'default'")
        .replace("new.settled_at is not null", "new.settled_at is null")
    )

    async def told() -> bool:
        return bool(bench.told(events.DatabaseRefused))

    async with bench.running() as task:
        await producer.entered.wait()
        await eventually_async(told)
        assert not task.done()
        rows.run("drop trigger refusing on relay.call")
        producer.gate.set()

        async def all_is_done() -> bool:
            return rows.counts() == {"done": 3}

        await eventually_async(all_is_done)
    assert bench.told(events.DatabaseRefused)[0].stage == "extend"


async def test_a_table_that_is_gone_ends_the_run_once_the_rest_is_settled(rows: Rows, engine: Engine) -> None:
    added = rows.add(30)
    producer = Scripted()
    bench = Bench(engine, producer, batch_size=10, concurrency=1)

    async def drop() -> None:
        if len(producer.calls) == 2:
            rows.run("alter table relay.pause rename to gone")

    producer.inside = drop
    with pytest.raises(Exception, match=r"gone|pause"):
        await bench.drain()
    assert rows.one("select count(*) from relay.call where settled_at is null") == 0
    assert rows.counts()["done"] == len(producer.produced)
    assert set(producer.produced) <= set(added)


async def test_pauses_with_words_that_cannot_be_read_are_kept(sql_ascii: Engine) -> None:
    rows = Rows(sql_ascii)
    rows.add(2, account="paused")
    rows.add(2)
    rows.run(
        "insert into relay.pause (scope, reason, by) "
        r"values ('account:paused', convert_from('\xd6d0', 'sql_ascii'), 'x')"
    )
    report = await Bench(sql_ascii, Scripted()).drain(Until.DRAINED)
    assert (report.done, report.left) == (2, 2)


def test_one_call_is_one_transaction_only_where_another_is_refused(rows: Rows, engine: Engine) -> None:
    """Settling all at once is what happens all day: the way round costs nothing then."""
    rows.add(100)
    store = Store(engine, worker="w", lease_seconds=60)
    batches = store.claim(ClaimLimits(slots=2)).batches
    told = statements_of(engine)
    rng = random.Random(1)
    store.settle([decide(batch, accept(batch), Policy(), rng) for batch in batches], {})
    assert (len(batches), len(told)) == (2, 2)
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from relay.outbox where status = 'done'")) == 100


async def test_a_probe_says_what_is_made_and_not_settled(rows: Rows, engine: Engine) -> None:
    rows.add(1, account="poison")
    rows.run(REFUSING.format(state="42501"))
    bench = Bench(engine, Scripted(), grace_seconds=0.1)

    async def told() -> bool:
        return "1 made and not settled" in await bench.worker.readiness.trouble()

    async with bench.running():
        await eventually_async(told)
        assert "not this one" in await bench.worker.readiness.trouble()


STUBBORN = """
create function stubborn() returns trigger language plpgsql as $$
begin
    if new.error_code = 'relay.unreadable' then {what}; end if;
    return new;
end $$;
create trigger stubborn before update on relay.outbox for each row execute function stubborn()
"""


@pytest.mark.parametrize("what", ["raise exception 'no' using errcode = '42501'", "return null"])
async def test_what_can_neither_be_read_nor_failed_holds_up_its_own_account_alone(sql_ascii: Engine, what: str) -> None:
    rows = Rows(sql_ascii)
    rows.run(
        r"insert into relay.outbox (topic, content, account) values (convert_from('\xd6d0', 'sql_ascii'), '{}', 'a')"
    )
    rows.run(STUBBORN.format(what=what))
    good = rows.add(60, account="b") + rows.add(60, account="c")
    producer = Scripted()
    bench = Bench(sql_ascii, producer)
    report = await bench.drain()
    assert producer.produced == dict.fromkeys(good, 1)
    assert (report.done, report.left) == (120, 1)
    assert not bench.told(events.MessageUnreadable)
    assert {told.stage for told in bench.told(events.DatabaseRefused)} == {"claim"}
    rows.run("drop trigger stubborn on relay.outbox")
    bench = Bench(sql_ascii, producer)
    assert (await bench.drain()).failed == 1
