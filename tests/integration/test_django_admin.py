"""Django's admin: what it shows and asks of the database, and that what it does is in the ledger with a name."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from sqlalchemy import Engine, create_engine, text

from relay.integrations.django import add, add_many
from tests.fixtures.hostility import only_where_nothing_is_set

pytestmark = only_where_nothing_is_set("the sessions are an application's own")
MESSAGE_PAGE, PAUSE_PAGE = "/admin/relay/auditmessage/", "/admin/relay/auditpause/"
TOPIC = "taobao_jds_TradeTrace"

# 60 that are done, in two calls with a platform's id each; three that failed, of two accounts.
FILL = """
insert into relay.outbox (id, topic, content, ordering_key, dedupe_key, status, finished_at, call_id, result_index)
overriding system value
select n, 'old', '{"nick": "王小明"}', 'k' || n, 'd' || n, 'done', now(), (n - 1) / 50 + 1, (n - 1) % 50
from generate_series(1, 60) n;
insert into relay.mask (topic, pointer) values ('old', '/nick');
insert into relay.call (account, worker, message_ids, lease_until, sent_at, settled_at, outcome, request_id) values
('default', 'w', array(select generate_series(1, 50)), now(), now(), now(), 'ok', 'request-1'),
('default', 'w', array(select generate_series(51, 60)), now(), now(), now(), 'ok', 'request-2');
insert into relay.outbox (id, topic, content, account, status, finished_at, error_code) overriding system value values
(61, 'new', '{}', 'default', 'failed', now(), 'isv.x'), (62, 'new', '{}', 'default', 'failed', now(), 'isv.y'),
(63, 'new', '{}', 'shop', 'failed', now(), 'isv.x');
"""
LEDGER = "select actor, action, reason, message_ids from relay.action where action <> 'mask' order by id"
LOOKED_AT = ("message", "pause", "action", "backlog")
FAILED = [61, 62, 63]


@pytest.fixture
def filled(django_database: str) -> Iterator[Engine]:
    engine = create_engine(django_database)
    with engine.begin() as filling:
        for statement in FILL.split(";\n"):
            if statement.strip():
                filling.execute(text(statement))
    yield engine
    engine.dispose()


def model(name: str) -> Any:
    """Classes of models are there once Django is configured, which is later than this file is read."""
    return apps.get_model(name)


def ids_of(wanted: dict[str, str], **page: int) -> list[int]:
    from relay.integrations.django.listing import MESSAGES, newest_ids

    return newest_ids(connection, MESSAGES, wanted, **page)


def logged_in(*permissions: str) -> Client:
    user = model("auth.User").objects.create_user("王店长", password="p", is_staff=True)
    user.user_permissions.set(model("auth.Permission").objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def shown(client: Client, page: str = MESSAGE_PAGE, **filters: Any) -> list[int]:
    """The ids on a page, in their order."""
    answer = client.get(page, filters)
    assert answer.status_code == 200, answer
    return [int(found) for found in re.findall(r'name="_selected_action" value="(\d+)"', answer.content.decode())] or [
        int(found) for found in re.findall(r"relay/\w+/(\d+)/change/", answer.content.decode())
    ]


def act(client: Client, action: str, ids: list[Any], page: str = MESSAGE_PAGE, **fields: Any) -> str:
    data = {"action": action, "_selected_action": [str(one) for one in ids], **fields}
    return str(client.post(page, data, follow=True).content.decode())


def look(client: Client, action: str, ids: list[Any], page: str = MESSAGE_PAGE) -> dict[str, Any]:
    """The fields of the form that the action shows."""
    asked = act(client, action, ids, page)
    seen = re.findall(r'name="seen" value="([^"]*)"', asked)
    return {"action": action, "ids": ids, "page": page, "seen": [html.unescape(one) for one in seen], "apply": "yes"}


def apply(client: Client, action: str, ids: list[Any], page: str = MESSAGE_PAGE, **fields: str) -> str:
    return act(client, **look(client, action, ids, page), **fields)


def ledger(engine: Engine) -> list[Any]:
    with engine.connect() as asking:
        rows = asking.execute(text(LEDGER))
        return [tuple(row) for row in rows]


def test_pages_are_found_by_ids_and_nothing_is_counted(filled: Engine) -> None:
    client = logged_in("view_auditmessage", "view_auditcall")
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert shown(client) == list(range(63, 13, -1))
    ours = [query["sql"] for query in asked if '"relay"' in query["sql"]]
    assert len(ours) == 2
    assert "COUNT(" not in str(ours).upper()
    assert shown(client, p=2) == list(range(13, 0, -1))
    page = client.get(MESSAGE_PAGE).content.decode()
    assert "?p=2" in page
    assert "?p=3" not in page
    assert not re.search(r"\b(51|63) messages", page)
    assert shown(client, "/admin/relay/auditcall/", request_id="request-2") == [2]
    assert shown(client, "/admin/relay/auditcall/", state="open") == []
    assert "51, 52, 53" in client.get("/admin/relay/auditcall/2/change/").content.decode()


def test_names_that_nobody_could_tell_apart_are_told_apart(filled: Engine) -> None:
    with filled.begin() as filling:
        filling.execute(text("insert into relay.outbox (topic, content, account) values ('t', '{}', 'shop\u00a0')"))
        filling.execute(text("insert into relay.pause (scope, reason, by) values (E'account\\:shop\\u00a0', 'r', 'w')"))
        found = filling.execute(text("select max(id) from relay.outbox")).scalar_one()
    client = logged_in("view_auditmessage", "view_auditpause")
    for page in (MESSAGE_PAGE, f"{MESSAGE_PAGE}{found}/change/", PAUSE_PAGE):
        told = client.get(page).content.decode()
        assert r"shop\u00a0<" in told, page
        assert not re.search(">[^<]*shop\u00a0[^<]*<", told)


EXACT: list[tuple[dict[str, str], list[int]]] = [
    ({"id": "7"}, [7]),
    ({"id": "no number"}, []),
    ({"id": "9" * 30}, []),
    ({"topic": "new"}, FAILED[::-1]),
    ({"topic": "ne"}, []),
    ({"ordering_key": "k9"}, [9]),
    ({"dedupe_key": "d8", "account": "default"}, [8]),
    ({"request_id": "request-2", "state": "done"}, list(range(60, 50, -1))),
    ({"request_id": "request"}, []),
    ({"state": "failed", "error_code": "isv.x"}, [63, 61]),
    ({"state": "pending"}, []),
    ({"state": "held"}, []),
]


def test_a_filter_is_exact(filled: Engine) -> None:
    assert [(wanted, ids_of(wanted, first=0, number=50)) for wanted, _ in EXACT] == EXACT


def test_what_is_pending_is_found_in_both_halves(django_database: str) -> None:
    with transaction.atomic():
        ids = add_many({"topic": TOPIC, "content": {}, "ordering_key": key} for key in (None, "a", None))
        add(TOPIC, {}, account="shop")
    assert ids_of({"state": "pending"}, first=1, number=2) == [ids[2], ids[1]]
    backlog = model("relay.AuditBacklog").objects.order_by("account")
    assert list(backlog.values_list("account", "pending")) == [("default", 3), ("shop", 1)]


def test_filters_go_by_the_form_and_what_is_no_filter_is_not_passed_over(filled: Engine) -> None:
    client = logged_in("view_auditmessage")
    page = client.get(MESSAGE_PAGE, {"topic": "new", "state": "failed"}).content.decode()
    assert 'name="topic" value="new"' in page
    assert '<input type="hidden" name="state" value="failed">' in page
    assert client.get(MESSAGE_PAGE, {"producer": "x"}).url == f"{MESSAGE_PAGE}?e=1"
    assert shown(client, topic="new", error_code="isv.y") == [62]


def test_a_message_is_read_only_masked_and_shows_its_calls(filled: Engine) -> None:
    client = logged_in("view_auditmessage")
    page = client.get(f"{MESSAGE_PAGE}51/change/").content.decode()
    assert "request-2" in page
    assert "<td>done</td>" in page
    assert "王小明" not in page
    assert 'name="topic"' not in page
    assert client.post(f"{MESSAGE_PAGE}51/change/", {"topic": "x"}).status_code == 403
    assert [client.get(f"{MESSAGE_PAGE}{what}").status_code for what in ("add/", "51/delete/")] == [403, 403]
    everything = model("relay.AuditMessage").objects.all()
    for writes in (
        model("relay.AuditMessage")(id=1).save,
        everything.delete,
        model("relay.AuditPause").objects.create,
    ):
        with pytest.raises(TypeError, match="read only"):
            writes()


def test_an_action_shows_first_then_does_it_with_name_and_reason(filled: Engine) -> None:
    client = logged_in("view_auditmessage", "retry_message", "discard_message")
    asked = act(client, "retry", [1, *FAILED])
    assert "1: is left alone: it is done, and done is final" in asked
    assert "62: retry" in asked
    assert "This field is required" in apply(client, "retry", FAILED, reason="  ")
    assert ledger(filled) == []
    done = apply(client, "retry", [1, 61, 62], reason="平台已恢复")
    assert "Retry: 2 messages; row " in done, re.findall("<li class=.*", done)
    assert "Message 1 is left alone: it is done" in done
    assert "Discard: 1 message; row " in apply(client, "discard", [63], reason="又一个")
    assert ledger(filled) == [("王店长", "retry", "平台已恢复", [61, 62]), ("王店长", "discard", "又一个", [63])]
    assert model("relay.AuditMessage").objects.filter(status="pending").count() == 2
    assert model("relay.AuditMessage").objects.get(id=63).error_code == "relay.discarded"


def test_accounts_are_paused_and_resumed(filled: Engine) -> None:
    client = logged_in(
        "view_auditmessage",
        "pause_account",
        "view_auditpause",
        "resume_account",
        "view_auditaction",
        "view_auditbacklog",
    )
    assert "account shop" in act(client, "pause", [61, 63])
    asked = act(client, "pause", [63], select_across="1")
    assert ("account shop" in asked, "account default" in asked) == (True, False)
    assert "The account shop is paused" in apply(client, "pause", [61, 63], reason="r", minutes="30")
    assert model("relay.AuditPause").objects.filter(in_force=True, by="王店长").count() == 2
    assert "account shop (in the place of a pause by 王店长: r)" in act(client, "pause", [63])
    assert "account:shop (by 王店长: r): resume" in act(client, "resume", ["account:shop"], PAUSE_PAGE)
    assert "is resumed" in apply(client, "resume", ["account:shop"], PAUSE_PAGE, reason="r")
    assert "is left alone: it is not paused" in apply(client, "resume", ["account:shop"], PAUSE_PAGE, reason="r")
    assert [row[1] for row in ledger(filled)] == ["pause", "pause", "resume"]
    assert "王店长" in client.get("/admin/relay/auditaction/").content.decode()
    assert client.get("/admin/relay/auditbacklog/").status_code == 200


def test_what_somebody_else_has_changed_since_the_page_was_shown_is_left_alone(filled: Engine) -> None:
    client = logged_in("view_auditmessage", "retry_message", "discard_message")
    first, second = look(client, "retry", [1, 61, 62]), look(client, "retry", [1, 61, 62])
    assert "Retry: 2 messages; row " in act(client, **first, reason="r")
    with filled.begin() as failing:
        failing.execute(text("update relay.outbox set status = 'failed', finished_at = now() where id = 61"))
    told = act(client, **second, reason="r")
    assert "Retry: 0 messages; row " in told
    assert "Message 61 is left alone: it has changed since you looked" in told
    assert "Message 62 is left alone: it is pending already" in told
    assert "Message 1 is left alone: it is done" in told
    assert [row[3] for row in ledger(filled)] == [[61, 62], []]


def test_what_the_page_did_not_show_as_changed_is_left_alone(filled: Engine) -> None:
    """Such as what was in flight then; or where no page was shown at all."""
    client = logged_in("view_auditmessage", "retry_message", "pause_account", "view_auditpause", "resume_account")
    for seen in ([], ["1", "x 61", "1 x", " 61"]):
        told = act(client, "retry", [61], apply="yes", reason="r", seen=seen)
        assert "Message 61 is left alone: it has changed since you looked" in told
    assert "The account shop is left alone" in act(client, "pause", [63], apply="yes", reason="r")
    with filled.begin() as pausing:
        pausing.execute(text("select relay.pause_scope(concat('account:', 'shop'), null, 'r')"))
    assert "it has changed since" in act(client, "resume", ["account:shop"], PAUSE_PAGE, apply="yes", reason="r")
    assert [row[1] for row in ledger(filled)] == ["pause"]


def test_a_pause_that_was_not_shown_is_neither_replaced_nor_ended(filled: Engine) -> None:
    client = logged_in("view_auditmessage", "pause_account", "view_auditpause", "resume_account")
    unpaused = look(client, "pause", [63])
    assert "The account shop is paused" in apply(client, "pause", [63], reason="mine")
    assert "The account shop is left alone: it has changed" in act(client, **unpaused, reason="another")
    shown_pause = look(client, "resume", ["account:shop"], PAUSE_PAGE)
    assert "The account shop is paused" in apply(client, "pause", [63], reason="newer")
    assert "ccount:shop is left alone: it has changed since" in act(client, **shown_pause, reason="r")
    assert [row[2] for row in ledger(filled)] == ["mine", "another", "newer", "r"], "those that came too late, too"


def test_who_has_no_permission_is_offered_no_action(filled: Engine) -> None:
    client = logged_in("view_auditmessage")
    assert 'name="action"' not in client.get(MESSAGE_PAGE).content.decode()
    for action in ("retry", "discard", "pause", "delete_selected"):
        act(client, action, FAILED, apply="yes", reason="r", post="yes")
    assert ledger(filled) == []
    assert client.get(PAUSE_PAGE).status_code == 403


def test_what_the_database_refuses_is_told_and_a_page_of_its_own(filled: Engine) -> None:
    client = logged_in("view_auditmessage", "retry_message")
    with filled.begin() as other:
        other.execute(text("alter function relay.why_not rename to why_not_any_more"))
    told = act(client, "retry", FAILED)
    assert "PostgreSQL refused, and nothing was changed: function relay.why_not" in told


def test_who_waits_for_a_lock_is_told_where_to_hear_who_has_it(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_in("view_auditmessage", "retry_message")
    monkeypatch.setattr("relay.integrations.django.acting.LOCK_SECONDS", 0.1)
    with filled.begin() as other:
        other.execute(text("select id from relay.outbox for update"))
        told = apply(client, "retry", FAILED, reason="r")
    assert "Somebody keeps it locked. The same by manage.py relay tells who" in told
    assert ledger(filled) == []


def test_a_question_without_an_index_ends(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_in("view_auditmessage")
    monkeypatch.setattr("relay.integrations.django.listing.PATIENCE_SECONDS", 0.1)
    with filled.begin() as other:
        other.execute(text("lock table relay.outbox in access exclusive mode"))
        page = client.get(MESSAGE_PAGE).content.decode()
    assert "Nothing found within 0.1 seconds" in page
    assert shown(client, id=" 7 ") == [7]
