"""What nobody sees is in no name: the tables, ``relay.add`` and what is shown agree on every character there is."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from relay.errors import MessageError
from relay.outbox.columns import line
from relay.revisions.r0008_limits import BLANK, CONTROLS, NAMES
from relay.showing import escaped, json_text
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

# The zero width space, marks of direction, the soft hyphen, a byte order mark, invisible operators; and others like
# them.
UNSEEN = "\u200b\u200e\u200f\u061c\u00ad\ufeff\u2060\u2061\u2062\u2063\u2064\u034f\u180e\u206f\u3164\u2800\U000e0041"
# How Persian, Hindi, rare Chinese names and pictures are written.
KEPT = "\u200c\u200d\ufe0f\U000e0100"
ASKED = """
select array_agg(code) filter (where chr(code) ~ {controls}) as refused,
    array_agg(code) filter (where chr(code) ~ {blank}) as blank
from generate_series(1, 1114111) as code where code not between 55296 and 57343
"""
INSERT = "insert into relay.outbox (topic, content, {name}) values ('t', '{{}}', %s)"
INSERT_TOPIC = "insert into relay.outbox (topic, content) values (%s, '{}')"


@pytest.fixture
def application(engine: Engine, roles: Roles) -> Iterator[psycopg.Connection]:
    with psycopg.connect(roles.url("app").replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def refused_by_add(name: str, value: str) -> bool:
    try:
        line(name, value)
    except MessageError:
        return True
    return False


def test_the_tables_and_the_insert_in_python_refuse_the_same_and_none_of_it_is_shown(engine: Engine) -> None:
    (found,) = Rows(engine).read(ASKED.format(controls=CONTROLS, blank=BLANK))
    refused, blank = set(map(chr, found.refused)), set(map(chr, found.blank))
    assert set(UNSEEN) <= refused
    assert set(KEPT) <= blank
    assert refused.isdisjoint(KEPT)
    everything = {chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000}
    assert {one for one in everything if refused_by_add("producer", f"a{one}b")} == refused
    assert blank <= {one for one in everything if refused_by_add("account", one)} <= blank | refused
    for one in refused:
        assert one not in escaped(one) + json_text(one), hex(ord(one))
    seen = everything - refused - blank
    assert [hex(ord(one)) for one in seen if unicodedata.category(one) in ("Cc", "Zl", "Zp") or one.isspace()] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_application_hides_a_name_behind_what_nobody_sees(application: psycopg.Connection, name: str) -> None:
    insert = INSERT_TOPIC if name == "topic" else INSERT.format(name=name)
    for character in UNSEEN:
        for value in (character, f"shop{character}"):
            with pytest.raises(psycopg.errors.CheckViolation):
                application.execute(insert.encode(), (value,))
    for character in KEPT:
        application.execute(insert.encode(), (f"shop{character}",))
        if name in ("topic", "account"):
            with pytest.raises(psycopg.errors.CheckViolation):
                application.execute(insert.encode(), (f" {character}\u3000",))


def test_no_operator_pauses_what_looks_like_another_scope(engine: Engine, roles: Roles) -> None:
    with psycopg.connect(roles.url("operator").replace("+psycopg", ""), autocommit=True) as operator:
        for character in UNSEEN:
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="a scope has at most"):
                operator.execute("select relay.pause_scope(%s, null, 'r')", (f"account:shop-7{character}",))
        operator.execute("select relay.pause_scope('account:shop-7', null, 'r')")
