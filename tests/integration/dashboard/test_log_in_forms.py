"""What the forms of a log-in and a log-out take: their fields, each once, whole and soon; else they say why not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from relay.dashboard import create_app
from relay.dashboard.serving import Server, _Impatient, configured
from relay.listeners import listener
from relay.settings import load
from tests.fixtures.acting import SAME, post, said
from tests.fixtures.dashboard import Browse, Browser
from tests.fixtures.people import PASSWORD, line

NOWHERE = "postgresql://nobody@127.0.0.1:1/x"
FORM = {"content-type": "application/x-www-form-urlencoded", **SAME}
RIGHT = {"name": "ann", "password": PASSWORD}
WRONG = (
    (urlencode({**RIGHT, "foo": "1"}), 400, "no field “foo”", "没有字段“foo”"),
    (urlencode(RIGHT) + "&name=bob", 400, "“name” twice", "“name”"),
    (urlencode({**RIGHT, "password": "x" * 200_000}), 413, "larger than 32 KiB", "超过 32 KiB"),
    (urlencode({**RIGHT, "password": "a\0"}), 400, "“password” cannot be understood", "“password”"),
    ("\udcff", 400, "no form of this dashboard", "表单"),
)


@pytest.fixture
def user(browse: Browse, tmp_path: Path) -> Browser:
    (tmp_path / "users").write_text(line())
    return browse(dashboard_users_file=tmp_path / "users")


@pytest.mark.parametrize(("body", "status", "english", "chinese"), WRONG)
def test_a_log_in_takes_its_fields_and_says_what_is_wrong_with_others(
    user: Browser, body: str, status: int, english: str, chinese: str
) -> None:
    content = body.encode("utf-8", "surrogateescape")
    for language, told in (("en", english), ("zh", chinese)):
        answer = user.send("POST", "/login", content=content, headers={**FORM, "accept-language": language})
        assert (answer.status_code, told in said(answer)) == (status, True), answer.text
        assert "set-cookie" not in answer.headers
        assert 'name="password"' in answer.text, "where one can try again"
    assert user.send("POST", "/login", json=RIGHT, headers=SAME).status_code == 415


def test_the_longest_that_its_fields_take_is_no_form_too_large(user: Browser) -> None:
    longest = {"name": "𠮷" * 200, "password": "𠮷" * 1_024, "next": "/" + "x" * 8_000}
    assert post(user, "/login", **longest).status_code == 401


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"foo=1", 400, "no field “foo”"),
        (b"x=" + b"1" * 2_000_000, 413, "larger than 32 KiB"),
        (b"\xff", 400, "no form"),
    ],
)
def test_a_log_out_takes_no_field(user: Browser, content: bytes, status: int, told: str) -> None:
    assert post(user, "/login", **RIGHT).status_code == 303
    answer = user.send("POST", "/logout", content=content, headers=FORM)
    assert (answer.status_code, told in said(answer)) == (status, True), answer.text
    assert user.get("/nowhere").status_code == 404, "ann is still there"
    assert user.send("POST", "/logout", content=b"", headers=FORM).status_code == 303
    assert user.get("/nowhere").status_code == 303


def test_head_and_body_together_have_the_time_of_one_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half a body is hung up on before a connection on which nothing comes, if that was made later."""
    (tmp_path / "users").write_text(line())
    monkeypatch.setattr("relay.dashboard.serving.REQUEST_SECONDS", 0.5)
    begun: list[_Impatient] = []
    ended: list[_Impatient] = []
    all_ended = asyncio.Event()
    made, lost = _Impatient.connection_made, _Impatient.connection_lost

    def connection_made(self: _Impatient, transport: Any) -> None:
        made(self, transport)
        begun.append(self)

    def connection_lost(self: _Impatient, exc: Exception | None) -> None:
        lost(self, exc)
        ended.append(self)
        if len(ended) == 2:
            all_ended.set()

    monkeypatch.setattr(_Impatient, "connection_made", connection_made)
    monkeypatch.setattr(_Impatient, "connection_lost", connection_lost)
    half = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    half += b"Content-Length: 99\r\nSec-Fetch-Site: same-origin\r\n\r\nname="

    async def both() -> None:
        ready = asyncio.Event()
        server = Server(
            configured(create_app(load(database_url=NOWHERE, dashboard_users_file=tmp_path / "users"))), ready.set
        )
        with listener("127.0.0.1", 0) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            await ready.wait()
            port = listening.getsockname()[1]
            _, first = await asyncio.open_connection("127.0.0.1", port)
            first.write(half)
            _, second = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.wait_for(all_ended.wait(), 20)
            first.close()
            second.close()
            server.stop()
            await serving

    asyncio.run(both())
    assert ended == begun
