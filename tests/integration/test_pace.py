"""Who put the next call of an app key far away: kept while it is far, whoever waits there afterwards, and told."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from relay.checks import NamedFinding, State, named
from relay.checks.backlog import pace
from relay.events import CallSettled
from relay.settings import Settings
from relay.store import Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted
from tests.fixtures.waiting import eventually_async

AWAY = "update relay.pace set next_at = now() + interval '20 hours' where app_key = '12345678'"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def honest(rows: Rows, roles: Roles) -> Iterator[Store]:
    """A worker that paces its calls."""
    made = create_engine(roles.url("worker"), poolclass=NullPool)
    yield Store(made, worker="w", lease_seconds=60)
    made.dispose()


@pytest.fixture
def mallory(rows: Rows, roles: Roles, superuser: Engine) -> Iterator[psycopg.Connection]:
    """A second login of the same role, in wrong hands."""
    name = f"mallory_{uuid4().hex[:8]}"
    with superuser.begin() as connection:
        connection.execute(text(f"create role {name} login password 'p' in role {roles.names.worker}"))
    url = superuser.url.set(drivername="postgresql", username=name, password="p")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        yield connection
    with superuser.begin() as connection:
        connection.execute(text(f"drop role {name}"))


def looked(engine: Engine, **settings: float) -> NamedFinding:
    with engine.connect() as connection:
        (found,) = pace(connection, Settings().model_copy(update=settings))
        return named("pace", found)


def who(rows: Rows) -> object:
    return rows.one("select db_user from relay.pace")


def test_whoever_moved_it_far_is_named_though_everybody_who_waits_moves_it_on(
    rows: Rows, roles: Roles, honest: Store, mallory: psycopg.Connection
) -> None:
    for _ in range(3):
        assert honest.reserve("12345678", 0.1) < 1
    assert (who(rows), rows.one("select step from relay.pace")) == (roles.login("worker"), None)
    mallory.execute("update relay.pace set next_at = clock_timestamp() + interval '59.95 s'")
    assert honest.reserve("12345678", 0.1) > 59, "now it is far, by the word of somebody else"
    mallory.execute(AWAY.encode())
    assert honest.reserve("12345678", 0.1) > 70_000
    assert honest.reserve("12345678", 0.1) > 70_000
    assert who(rows) == mallory.info.user
    told = looked(rows.engine)
    assert told.state is State.WARN
    assert "the app key …5678 is at " in told.sentence
    assert f"the login {mallory.info.user} moved it by 719" in told.sentence
    assert "1234" not in told.sentence.split("…")[0]
    assert "12345678" not in told.sentence + told.hint
    rows.run(told.hint.partition("as the owner: ")[2])
    assert honest.reserve("12345678", 0.1) == 0
    assert (who(rows), looked(rows.engine).state) == (roles.login("worker"), State.OK)


def test_a_pace_that_is_never_far_and_far_below_the_settings_is_told(
    rows: Rows, roles: Roles, honest: Store, mallory: psycopg.Connection
) -> None:
    assert looked(rows.engine).sentence == "no app key waits long for its turn"
    honest.reserve("12345678", 0.01)
    told = looked(rows.engine, rate_limit=100.0)
    assert told.state is State.OK
    assert "; 1 app key has a pace: …5678 may call from " in told.sentence
    assert told.sentence.endswith(f" on, as the login {roles.login('worker')} left it")
    mallory.execute("update relay.pace set next_at = clock_timestamp() + interval '50 s'")
    assert looked(rows.engine).state is State.OK, "a slow pace may be meant"
    told = looked(rows.engine, rate_limit=100.0)
    assert told.state is State.WARN
    assert f"the login {mallory.info.user} moved it last, and at RELAY_RATE_LIMIT=100 that is more" in told.sentence
    rows.run(told.hint.partition("as the owner: ")[2])
    assert honest.reserve("12345678", 0.01) == 0


def test_small_steps_hide_nobody_who_takes_larger_ones_than_the_calls(
    rows: Rows, honest: Store, mallory: psycopg.Connection
) -> None:
    honest.reserve("12345678", 0.1)
    for _ in range(4):
        mallory.execute("update relay.pace set next_at = next_at + interval '30 s'")
        honest.reserve("12345678", 0.1)
    assert who(rows) == mallory.info.user


def test_many_steps_below_those_of_the_calls_hide_nobody_who_moves_it_further_than_all_others(
    rows: Rows, roles: Roles, honest: Store, mallory: psycopg.Connection
) -> None:
    for _ in range(9):
        honest.reserve("12345678", 10)
    assert who(rows) == roles.login("worker")
    for _ in range(2):
        mallory.execute("update relay.pace set next_at = next_at + interval '9 s'")
    assert who(rows) == roles.login("worker"), "since it is far, this one has moved it further itself"
    for _ in range(10):
        mallory.execute("update relay.pace set next_at = next_at + interval '9 s'")
    assert who(rows) == mallory.info.user


async def test_a_pace_that_is_far_away_takes_no_slot_from_the_calls_of_other_app_keys(
    rows: Rows, roles: Roles, mallory: psycopg.Connection
) -> None:
    """Before, each slot came to a call that waited for its turn, for up to a day."""
    mallory.execute("insert into relay.pace (app_key, next_at) values ('1', now() + interval '20 hours')")
    book = Phonebook({"slow": ("1", "a"), "default": ("2", "b")})
    made = create_engine(roles.url("worker"))
    rows.add(400, account="slow")
    bench = Bench(made, Scripted(), directory=book, calls_per_second=1000.0, concurrency=2)
    async with bench.running():
        await eventually_async(lambda: _told(bench))
        rows.add(100)
        await eventually_async(lambda: _done(rows, 100))
    assert rows.one("select count(*) from relay.outbox where account = 'slow' and status = 'pending'") == 400
    assert rows.one("select next_at < now() + interval '20 hours' from relay.pace where app_key = '1'")
    made.dispose()


async def _told(bench: Bench) -> bool:
    return any(settled.outcome == "released" for settled in bench.told(CallSettled))


async def _done(rows: Rows, count: int) -> bool:
    return rows.counts().get("done") == count


def test_a_new_key_too_and_no_worker_names_the_login(rows: Rows, mallory: psycopg.Connection) -> None:
    mallory.execute("insert into relay.pace (app_key, next_at) values ('12345678', now() + interval '1 hour')")
    assert who(rows) == mallory.info.user
    for forged in ("set db_user = 'ann'", "set step = null, next_at = now()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            mallory.execute(f"update relay.pace {forged}".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.execute("insert into relay.pace (app_key, next_at, db_user) values ('2', now(), 'ann')")


def test_with_the_grants_of_the_version_before_nobody_else_is_named_either(
    rows: Rows, roles: Roles, mallory: psycopg.Connection
) -> None:
    rows.run(f"grant insert, update on relay.pace to {roles.names.worker}")
    mallory.execute(
        "insert into relay.pace (app_key, next_at, db_user, step) values ('1', now() + interval '1 h', 'ann', '9 days')"
    )
    assert who(rows) == mallory.info.user
    mallory.execute("update relay.pace set db_user = 'ann', step = '9 days', next_at = next_at + interval '1 s'")
    assert (who(rows), rows.one("select step < '2 hours' from relay.pace")) == (mallory.info.user, True)


def test_a_queue_at_a_low_rate_is_nobodys_fault(rows: Rows, honest: Store) -> None:
    for _ in range(4):
        honest.reserve("12345678", 30)
    assert looked(rows.engine, rate_limit=1 / 30).state is State.OK
    assert looked(rows.engine).state is State.WARN


def test_what_a_dump_brings_stays(rows: Rows) -> None:
    rows.run("insert into relay.pace values ('1', now() + interval '1 h', 'ann', '1 h')")
    assert who(rows) == "ann"
