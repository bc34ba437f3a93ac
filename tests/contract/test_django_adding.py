"""``relay.integrations.django.add``: the transaction of ``atomic()`` and no other, in an application's tests too."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import TestCase
from sqlalchemy import Engine

import relay
from relay.integrations.django import add, add_many
from tests.fixtures.database import Server
from tests.fixtures.django_project import SECOND, databases_at, numbers
from tests.fixtures.hostility import only_where_nothing_is_set

pytestmark = only_where_nothing_is_set("the sessions are an application's own")
TOPIC = "taobao_jds_TradeTrace"


class Numbered(relay.Topic, topic=TOPIC):
    """A message as a class of the application's."""

    n: int


@pytest.fixture(autouse=True)
def _django(database_url: str) -> Iterator[None]:
    with databases_at(default=database_url):
        yield


def place(n: int, **columns: Any) -> int | None:
    with transaction.atomic():
        return add(TOPIC, {"n": n}, **columns)


def test_what_a_block_rolls_back_takes_its_messages_with_it(engine: Engine) -> None:
    with transaction.atomic():
        assert add(TOPIC, {"n": 1}, dedupe_key="once") is not None
        assert add(TOPIC, {"n": 1}, dedupe_key="once") is None
        with transaction.atomic():
            add_many([{"topic": TOPIC, "content": {"n": 2}}])
            transaction.set_rollback(True)
        ids = add_many([relay.NewMessage(TOPIC, {"n": 3}), {"topic": TOPIC, "content": {"n": 4}}])
        ids.append(add(Numbered(n=5)))
    assert None not in ids
    assert numbers(engine) == ["1", "3", "4", "5"]


def test_outside_of_a_block_it_is_refused_with_the_way(engine: Engine) -> None:
    with pytest.raises(relay.NotInTransaction) as refused:
        add(TOPIC, {})
    assert "with transaction.atomic(): ... add(...), not in on_commit" in refused.value.hint
    with pytest.raises(relay.NotInTransaction), transaction.atomic():
        transaction.on_commit(lambda: add_many([]))
    with pytest.raises(relay.NotInTransaction) as elsewhere, transaction.atomic():
        add(TOPIC, {}, using=SECOND)
    assert 'with transaction.atomic(using="second"): ... add(..., using="second")' in elsewhere.value.hint
    assert 'that of the database "default": add(..., using="default")' in elsewhere.value.hint
    assert numbers(engine) == []


@pytest.mark.parametrize(
    ("call", "sentence", "hint"),
    [
        (lambda: add(connection, TOPIC, {}), "add takes no connection here", "Write add(topic, content)"),
        (lambda: add(transaction, TOPIC, {}), "add takes no connection here", 'using="alias"'),
        (lambda: add(connection, Numbered(n=1)), "add takes no connection here", "Write add(topic, content)"),
        (lambda: add(connection.cursor(), TOPIC, {}), "add takes no connection here", "Write add(topic, content)"),
        (lambda: add_many(connection, []), "add_many takes no connection here", "Write add_many(messages)"),
        (lambda: add(TOPIC, {}, "shop"), "add was given 3 things without a name", "account=..."),
        (lambda: add_many({"topic": TOPIC}, {}), "add_many takes messages, and was given 1 more", "into a list"),
        (lambda: add(TOPIC), "This names no content", "Give a topic and a content"),
        (lambda: add(), "This names no topic", "Give a topic and a content"),
        (lambda: add({"n": 1}), "This names no content", "Give a topic and a content"),
    ],
)
def test_what_is_called_otherwise_is_told_how(
    call: Callable[[], object], sentence: str, hint: str, engine: Engine
) -> None:
    with pytest.raises(relay.MessageError) as refused, transaction.atomic():
        call()
    assert sentence in str(refused.value)
    assert hint in refused.value.hint
    assert numbers(engine) == []


def test_two_databases_have_an_outbox_each(engine: Engine, postgres: Server, migrated_template: str) -> None:
    with postgres.fresh_database(migrated_template) as name, databases_at(second=postgres.url(name)):
        with transaction.atomic(), transaction.atomic(using=SECOND):
            add(TOPIC, {"n": 1})
            add(TOPIC, {"n": 2}, using=SECOND)
        with transaction.atomic(using=SECOND):
            assert add(TOPIC, {"n": 3}, using=SECOND) == 2
    assert numbers(engine) == ["1"]


def test_an_asynchronous_view_hands_its_block_to_a_thread(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def view() -> None:
        monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")
        with pytest.raises(relay.NotInTransaction) as refused:
            add(TOPIC, {"n": 1})
        assert "await sync_to_async(" in refused.value.hint
        await sync_to_async(place)(2)
        await sync_to_async(connections.close_all)()  # those of that thread

    asyncio.run(view())
    assert numbers(engine) == ["2"]


def test_flush_empties_the_outbox_of_a_test_database_alone(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(1)
    said = io.StringIO()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("relay.testing.emptying._A_WORD", re.compile("no such name"))
        call_command("flush", verbosity=0, interactive=False, stderr=said)
    assert "The relay's tables are kept" in said.getvalue()
    assert numbers(engine) == ["1"]
    call_command("flush", verbosity=0, interactive=False)
    assert numbers(engine) == []


class OfAnApplication(TestCase):
    """Run below; not collected, for its class makes its transaction in a database of its own."""

    __test__ = False
    databases = frozenset({"default"})

    def test_in_a_block(self) -> None:
        assert place(1) is not None

    def test_without_a_block(self) -> None:
        with pytest.raises(relay.NotInTransaction):
            add(TOPIC, {})

    def test_on_commit(self) -> None:
        with pytest.raises(relay.NotInTransaction), self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: add(TOPIC, {}))


def test_a_test_case_rolls_back_and_still_asks_for_a_block(engine: Engine) -> None:
    from unittest import TestResult, defaultTestLoader

    found = TestResult()
    defaultTestLoader.loadTestsFromTestCase(OfAnApplication).run(found)
    assert (found.testsRun, found.errors, found.failures) == (3, [], [])
    assert numbers(engine) == []
