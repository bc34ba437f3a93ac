"""The accounts in memory: freshness, several sources, sources in trouble, many threads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event

import pytest

from relay.accounts import Accounts, Found, Source
from relay.accounts.sources import Given
from relay.credential import Credential
from relay.errors import ConfigurationError, UnreachableError

PATIENCE_SECONDS = 10
ONE, TWO, RENEWED = Credential("1", "a", "s"), Credential("2", "b"), Credential("1", "a", "renewed")
AWAY = UnreachableError("the database is away")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Table:
    """A source that can be changed and be in trouble, and that remembers what it was asked."""

    name = "the table of the test"

    def __init__(self, **rows: Found) -> None:
        self.rows = rows
        self.trouble: ConfigurationError | UnreachableError | None = None
        self.asked: list[set[str]] = []
        self.entered = Event()
        self.may_answer = Event()
        self.may_answer.set()

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        self.asked.append(set(accounts))
        self.entered.set()
        assert self.may_answer.wait(PATIENCE_SECONDS)
        if self.trouble:
            raise self.trouble
        return {account: self.rows[account] for account in accounts if account in self.rows}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table() -> Table:
    return Table(one=ONE, two=TWO)


@pytest.fixture
def accounts(table: Table, clock: Clock) -> Accounts:
    return Accounts([table], monotonic=clock)


def test_nothing_is_known_before_it_is_looked_up(accounts: Accounts, table: Table) -> None:
    assert accounts.credential("one") is None
    assert accounts.identity("one") is None
    assert table.asked == []
    accounts.refresh(["one", "nobody"])
    assert accounts.credential("one") == ONE
    assert accounts.identity("one") == ("1", ONE.fingerprint)
    assert accounts.credential("nobody") is None
    assert accounts.identity("nobody") is None


def test_what_was_found_or_not_stays_fresh_for_five_seconds(accounts: Accounts, table: Table, clock: Clock) -> None:
    accounts.refresh(["one", "nobody"])
    table.rows = {"one": RENEWED, "nobody": TWO}
    clock.now += 4.9
    accounts.refresh(["one", "nobody", "two"])
    assert table.asked == [{"one", "nobody"}, {"two"}]
    assert accounts.credential("one") == ONE
    clock.now += 0.1
    accounts.refresh(iter(["one", "nobody"]))
    assert (accounts.credential("one"), accounts.credential("nobody")) == (RENEWED, TWO)
    assert accounts.identity("one") == ("1", RENEWED.fingerprint)


def test_an_account_that_is_taken_away_is_unknown(accounts: Accounts, table: Table, clock: Clock) -> None:
    accounts.refresh(["one"])
    table.rows.clear()
    clock.now += 5
    accounts.refresh(["one"])
    assert accounts.credential("one") is None


def test_a_forgotten_account_is_looked_up_once_more(accounts: Accounts, table: Table) -> None:
    accounts.refresh(["one", "two"])
    table.rows["one"] = RENEWED
    accounts.forget("one")
    assert accounts.credential("one") == ONE, "until then it stays"
    accounts.refresh(["one", "two"])
    accounts.refresh(["one", "two"])
    assert accounts.credential("one") == RENEWED
    assert table.asked == [{"one", "two"}, {"one"}]


def test_the_first_source_that_knows_an_account_wins(clock: Clock) -> None:
    first, second = Table(one=ONE), Table(one=TWO, two=TWO)
    accounts = Accounts([first, second, Given({"default": ONE})], monotonic=clock)
    accounts.refresh(["one", "two", "default"])
    assert [accounts.credential(name) for name in ("one", "two", "default")] == [ONE, TWO, ONE]
    assert second.asked == [{"two", "default"}]


def test_a_source_in_trouble_takes_nothing_away_and_is_not_passed_over(clock: Clock) -> None:
    first, second = Table(one=ONE), Table(one=TWO, new=TWO)
    accounts = Accounts([first, second], monotonic=clock)
    accounts.refresh(["one"])
    first.trouble = AWAY
    clock.now += 5
    accounts.refresh(["one", "new"])
    assert accounts.credential("one") == ONE
    assert accounts.credential("new") is None, "the first source may have another credential for it"
    assert accounts.trouble == "the database is away"
    assert second.asked == []
    first.trouble = None
    clock.now += 5
    accounts.refresh(["one", "new"])
    assert [accounts.credential("new"), accounts.trouble] == [TWO, None]


def test_a_source_in_trouble_is_left_alone_for_a_while(accounts: Accounts, table: Table, clock: Clock) -> None:
    table.trouble = AWAY
    accounts.refresh(["one"])
    clock.now += 1
    accounts.refresh(["two"])
    accounts.forget("one")
    accounts.refresh(["one"])
    assert table.asked == [{"one"}]
    clock.now += 4
    accounts.refresh(["two"])
    assert len(table.asked) == 1, "asked for while the source was resting: as fresh as any other answer"
    clock.now += 1
    table.trouble = None
    accounts.refresh(["two"])
    assert [accounts.credential("two"), accounts.trouble] == [TWO, None]


def test_one_account_in_trouble_leaves_the_others_alone(accounts: Accounts, table: Table, clock: Clock) -> None:
    accounts.refresh(["one"])
    table.rows |= {"one": ConfigurationError("one has no app_key"), "two": TWO}
    clock.now += 5
    accounts.refresh(["one", "two"])
    assert (accounts.credential("one"), accounts.credential("two")) == (ONE, TWO)
    assert accounts.trouble == "one has no app_key"
    clock.now += 5
    accounts.refresh(["two"])
    assert accounts.trouble == "one has no app_key", "as long as nobody says otherwise"
    table.rows["one"] = RENEWED
    accounts.refresh(["one"])
    assert [accounts.credential("one"), accounts.trouble] == [RENEWED, None]


@pytest.mark.parametrize("trouble", [AWAY, ConfigurationError("no such table")])
def test_a_check_raises_the_first_trouble_of_a_source(trouble: ConfigurationError | UnreachableError) -> None:
    good, bad = Table(), Table()
    accounts = Accounts([good, bad])
    accounts.check()
    assert good.asked == bad.asked == [{"default"}]
    bad.trouble = trouble
    with pytest.raises(type(trouble), match=str(trouble)):
        accounts.check()
    bad.trouble = None
    bad.rows["default"] = ConfigurationError("default has no app_key")
    accounts.check()  # that is one account's, and stops no other


def test_a_trouble_is_one_line(accounts: Accounts, table: Table) -> None:
    table.trouble = ConfigurationError("one thing\nand another")
    accounts.refresh(["one"])
    assert accounts.trouble == "one thing; and another"


def test_a_trouble_names_the_first_accounts_and_counts_the_others(accounts: Accounts, table: Table) -> None:
    names = ["a", "b", "c", "d", "e"]
    table.rows = {name: ConfigurationError(f"{name} has no app_key") for name in names}
    accounts.refresh(names[:3])
    said = [f"{name} has no app_key" for name in names]
    assert accounts.trouble == "; ".join(said[:3])
    accounts.refresh(reversed(names))
    assert accounts.trouble == "; ".join(said[:3]) + " (and 2 more)", "in the same order, so that it is told once"
    assert ([str(error) for error in accounts.troubles], accounts.troubled) == (said, 5)


@contextmanager
def looking_up(accounts: Accounts, table: Table, *names: str) -> Iterator[ThreadPoolExecutor]:
    """Inside, a look-up of these names waits for its source."""
    table.entered.clear()
    table.may_answer.clear()
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(accounts.refresh, names)
        try:
            assert table.entered.wait(PATIENCE_SECONDS)
            yield threads
        finally:
            table.may_answer.set()
        running.result(PATIENCE_SECONDS)


def test_a_look_up_stops_neither_readers_nor_those_who_need_none(accounts: Accounts, table: Table) -> None:
    accounts.refresh(["one"])
    with looking_up(accounts, table, "two"):
        accounts.refresh(["one"])
        assert accounts.credential("one") == ONE
        assert accounts.credential("two") is None
    assert accounts.credential("two") == TWO


def test_who_needs_what_is_being_looked_up_waits_for_it(accounts: Accounts, table: Table) -> None:
    def needing_one() -> Credential | None:
        accounts.refresh(["one"])
        return accounts.credential("one")

    with looking_up(accounts, table, "one") as threads:
        second = threads.submit(needing_one)
        table.may_answer.set()
        assert second.result(PATIENCE_SECONDS) == ONE
    assert table.asked == [{"one"}]


def test_what_is_forgotten_during_its_look_up_is_looked_up_again(accounts: Accounts, table: Table) -> None:
    with looking_up(accounts, table, "one"):
        accounts.forget("one")
    accounts.refresh(["one"])
    assert table.asked == [{"one"}, {"one"}]


def test_many_threads_look_up_each_account_once(table: Table) -> None:
    names = [f"shop{number}" for number in range(200)]
    table.rows = {name: Credential(name, "x") for name in names}
    accounts = Accounts([table], fresh_seconds=1000)
    start = Barrier(8)

    def work(offset: int) -> bool:
        start.wait(PATIENCE_SECONDS)
        for number in range(200):
            name = names[(number * 7 + offset * 25) % 200]
            accounts.refresh([name])
            if accounts.credential(name) != table.rows[name] or accounts.identity(name) is None:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert sorted(name for asked in table.asked for name in asked) == sorted(names)


def test_accounts_and_sources_do_not_show_what_they_hold(clock: Clock) -> None:
    source: Source = Given({"one": Credential("12345678", "s3cret-do-not-show", "session-do-not-show")})
    accounts = Accounts([source], monotonic=clock)
    accounts.refresh(["one"])
    shown = f"{accounts!r} {accounts} {source!r} {source} {accounts.__dict__} {accounts.credential('one')}"
    assert "do-not-show" not in shown
    assert "12345678" not in f"{accounts!r} {source!r} {accounts.credential('one')}"


def test_whatever_a_source_raises_takes_nothing_away_and_is_told(table: Table, clock: Clock) -> None:
    accounts = Accounts([table], fresh_seconds=5, monotonic=clock)
    accounts.refresh(["one"])
    table.trouble = UnicodeError("with a secret in it")  # type: ignore[assignment]
    clock.now += 6
    accounts.refresh(["one"])
    assert accounts.credential("one") == ONE
    assert accounts.trouble == "Credentials cannot be looked up in the table of the test: unexpected UnicodeError"
