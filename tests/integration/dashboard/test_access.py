"""Who may look: each attack of the table is refused, people with passwords and those a proxy names come in."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from contextlib import suppress
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import html5lib
import httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.routing import Mount

from relay.cli.verbs import relay as command
from relay.dashboard import create_app
from relay.dashboard.serving import Server, _Impatient, configured
from relay.dashboard.sessions import SESSION_SECONDS, TRIES_OF_ADDRESS, TRIES_OF_ONE, TRY_SECONDS, Sessions, Tries
from relay.errors import ConfigurationError
from relay.listeners import listener
from relay.settings import load
from tests.fixtures.dashboard import Browse, Browser, Seeded
from tests.fixtures.people import PASSWORD, line
from tests.fixtures.processes import StartRelay

NOWHERE = "postgresql://nobody@127.0.0.1:1/x"
SAME = {"sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("people") / "users"
    file.write_text(f"# who may look\n{line()}")
    return file


@pytest.mark.parametrize(
    ("peer", "base_url"),
    [
        ("10.0.0.7", "http://127.0.0.1:9465"), ("127.0.0.1", "http://evil.example:9465"),
        ("127.0.0.1", "http://127.0.0.1.evil.example"), ("2001:db8::1", "http://localhost"), ("", "http://localhost"),
        ("127.0.0.1", "http://0.0.0.0:9465"),
    ],
)  # fmt: skip
def test_without_people_only_this_machine_is_answered(browse: Browse, peer: str, base_url: str) -> None:
    """By the address it comes from, and by the name it asks for: DNS rebinding has another one."""
    answer = browse(peer=peer, base_url=base_url).get("/codes/isv.what", **{"x-forwarded-for": "127.0.0.1"})
    assert answer.status_code == 403
    assert "isv.what" not in answer.text.partition("<main")[2].partition("</main>")[0]


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:9465", "http://localhost", "http://[::1]:9465", "http://LOCALHOST:1"]
)
def test_this_machine_is_answered_by_any_of_its_names(browse: Browse, seeded: Seeded, base_url: str) -> None:
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert browse(seeded.url, peer=peer, base_url=base_url).get("/codes/isv.what").status_code == 200


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("PUT", {}, 405), ("DELETE", SAME, 405), ("OPTIONS", {}, 405), ("TRACE", {}, 405),
        ("POST", {}, 403), ("POST", {"sec-fetch-site": "cross-site"}, 403),
        ("POST", {"sec-fetch-site": "same-site"}, 403),
        ("POST", {"origin": "http://evil.example"}, 403), ("POST", {"origin": "null"}, 403),
        ("POST", {"origin": "http://127.0.0.1:9465", "sec-fetch-site": "cross-site"}, 403),
        ("POST", SAME, 405), ("POST", {"origin": "http://127.0.0.1:9465"}, 405),
    ],
)  # fmt: skip
def test_no_page_takes_anything_but_a_question(
    browse: Browse, seeded: Seeded, method: str, headers: dict[str, str], status: int
) -> None:
    for path in ("/", "/messages", f"/messages/{seeded.ids[7]}"):
        assert browse(seeded.url).send(method, path, headers=headers).status_code == status


def log_in(user: Browser, password: str = PASSWORD, name: str = "ann", **more: str) -> Any:
    return user.send("POST", "/login", data={"name": name, "password": password, **more}, headers=SAME)


def test_a_password_opens_a_session_and_nothing_else_does(browse: Browse, seeded: Seeded, users: Path) -> None:
    user = browse(seeded.url, peer="10.0.0.7", base_url="http://relay.example", dashboard_users_file=users)
    asked = user.get("/codes/isv.what")
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Fcodes%2Fisv.what")
    assert user.get("/login?next=/codes/isv.what").status_code == 200
    for wrong in ({"password": "wrong horse"}, {"name": "bob"}, {"password": ""}):
        refused = log_in(user, **wrong)
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers
    again = user.send("POST", "/login?next=/codes/isv.what", data={"name": "ann", "password": "x"}, headers=SAME)
    assert 'action="/login?next=%2Fcodes%2Fisv.what"' in again.text, "one wrong password, and still where ann was going"
    opened = log_in(user, next="/codes/isv.what")
    assert (opened.status_code, opened.headers["location"]) == (303, "/codes/isv.what")
    cookie = opened.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert "ann" in user.get("/codes/isv.what").text
    assert (
        "Secure"
        in log_in(browse(seeded.url, base_url="https://relay.example", dashboard_users_file=users)).headers[
            "set-cookie"
        ]
    )
    kept = dict(user.cookies)
    assert user.send("POST", "/logout").status_code == 403, "nobody else's page logs anybody out"
    assert user.send("POST", "/logout", headers=SAME).status_code == 303
    user.cookies.update(kept)
    assert user.get("/codes/isv.what").status_code == 303, "the session is over, not only its cookie"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\nb", "//[", "http://["],
)
def test_a_log_in_leads_to_no_other_site(browse: Browse, users: Path, target: str) -> None:
    assert log_in(browse(dashboard_users_file=users), next=target).headers["location"] == "/"


@pytest.mark.parametrize("root", ["", "/ops/relay"])
def test_another_language_on_the_way_in_leads_to_the_same_page(
    browse: Browse, seeded: Seeded, users: Path, root: str
) -> None:
    """Before the first try and after a wrong one; the zone likewise."""
    target = f"{root}/messages?state=failed&key=%E5%8D%95"
    user = browse(seeded.url, dashboard_users_file=users)
    if root:
        user = Browser(Starlette(routes=[Mount(root, user.app)]))
    there = user.get(target).headers["location"]
    for page in (user.get(there), user.send("POST", there, data={"name": "ann", "password": "x"}, headers=SAME)):
        forms = html5lib.parse(page.text, namespaceHTMLElements=False)
        (chinese,) = (one.get("href") for one in forms.iter("a") if one.get("lang") == "zh-CN")
        (back,) = (one.get("value") for one in forms.iter("input") if one.get("name") == "back")
        for way in (chinese, f"{root}/preferences?{urlencode({'zone': 'UTC', 'back': back})}"):
            again = user.get(user.get(way).headers["location"])
            assert (again.status_code, again.headers["content-language"]) == (200, "zh")
            (wanted,) = re.findall(r'name="next" value="([^"]*)"', again.text)
            sent = {"name": "ann", "password": PASSWORD, "next": unescape(wanted)}
            opened = user.send("POST", f"{root}/login", data=sent, headers=SAME)
            assert opened.headers["location"] == target
            user.cookies.delete("relay_session")


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_no_other_site_is_carried_through_the_log_in_page(browse: Browse, users: Path, target: str) -> None:
    page = browse(dashboard_users_file=users).get(f"/login?{urlencode({'next': target})}").text
    assert not re.search("evil|alert", page)


@pytest.mark.parametrize(("peer", "secure"), [("10.0.0.9", True), ("10.0.1.9", False)])
def test_a_session_that_began_behind_tls_stays_there(browse: Browse, users: Path, peer: str, secure: bool) -> None:
    """A proxy that is trusted says that it took the request by https; anybody could."""
    user = browse(peer=peer, dashboard_users_file=users, dashboard_trusted_proxies="10.0.0.0/24")
    sent = {"name": "ann", "password": PASSWORD}
    opened = user.send("POST", "/login", data=sent, headers={**SAME, "x-forwarded-proto": "https"})
    assert ("; Secure" in opened.headers["set-cookie"]) == secure


def test_by_tls_and_at_the_root_the_session_has_a_name_that_no_other_host_can_set(
    browse: Browse, seeded: Seeded, users: Path
) -> None:
    user = browse(seeded.url, base_url="https://relay.example", dashboard_users_file=users)
    sent = log_in(user).headers["set-cookie"]
    name, token = sent.partition(";")[0].split("=", 1)
    assert name == "__Host-relay_session"
    assert all(part in sent for part in ("; Secure", "; HttpOnly", "; Path=/;"))
    assert "Domain" not in sent
    assert "ann" in user.get("/codes/isv.what").text
    ended = user.send("POST", "/logout", headers=SAME).headers["set-cookie"]
    assert ended.startswith('__Host-relay_session="";')
    assert "; Secure" in ended, "browsers would not take it else"
    assert user.get("/codes/isv.what").status_code == 303
    again = log_in(user).headers["set-cookie"].partition(";")[0].split("=", 1)[1]
    assert again != token
    user.cookies.clear()
    assert user.get("/codes/isv.what", cookie=f"relay_session={again}").status_code == 303, "anybody's could be that"
    assert user.get("/codes/isv.what", cookie=f"__Host-relay_session={again}").status_code == 200


@pytest.mark.parametrize(("base_url", "root"), [("http://relay.example", ""), ("https://relay.example", "/ops")])
def test_elsewhere_it_has_a_name_that_browsers_take_there(
    browse: Browse, users: Path, base_url: str, root: str
) -> None:
    app = Starlette(routes=[Mount(root or "/", browse(dashboard_users_file=users).app)])
    data = {"name": "ann", "password": PASSWORD}
    sent = Browser(app, base_url=base_url).send("POST", f"{root}/login", data=data, headers=SAME).headers["set-cookie"]
    assert sent.startswith("relay_session=")
    assert f"; Path={root}/;" in sent
    assert ("; Secure" in sent) == base_url.startswith("https")


def test_guessing_is_slowed_down(browse: Browse, users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.dashboard.sessions.TRIES_OF_ONE", 2)
    user = browse(dashboard_users_file=users)
    assert [log_in(user, "wrong horse").status_code for _ in range(2)] == [401] * 2
    stopped = log_in(user)
    assert (stopped.status_code, stopped.headers["retry-after"].isdigit()) == (429, True)
    assert log_in(user, name="bob").status_code == 401, "others are not locked out by that"
    too_long = user.send(
        "POST",
        "/login",
        content=b"name=" + b"x" * 40_000,
        headers={**SAME, "content-type": "application/x-www-form-urlencoded"},
    )
    assert too_long.status_code == 413


def test_tries_and_sessions_are_over_after_their_time() -> None:
    now = [0.0]
    tries, sessions = Tries(lambda: now[0]), Sessions(lambda: now[0])
    token = sessions.begin("ann")
    assert [tries.take("here", str(number)) for number in range(TRIES_OF_ADDRESS)] == [0.0] * TRIES_OF_ADDRESS
    assert tries.take("here", "somebody else") == TRY_SECONDS
    assert tries.take("elsewhere", "0") == 0
    assert (sessions.holder(token), sessions.holder("x")) == (("ann", b""), None)
    now[0] = SESSION_SECONDS
    assert tries.take("here", "somebody else") == 0
    assert sessions.holder(token) is None


def test_many_tries_at_once_are_no_more_than_one_after_another() -> None:
    """Each is taken before a password is looked at, which takes a tenth of a second."""
    tries = Tries()
    assert [tries.take("here", "ann") > 0 for _ in range(TRIES_OF_ONE + 2)] == [False] * TRIES_OF_ONE + [True] * 2
    tries.forget("here", "ann")
    assert tries.take("here", "ann") == 0


def test_who_is_taken_out_of_the_file_is_out(browse: Browse, seeded: Seeded, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(line())
    user = browse(seeded.url, dashboard_users_file=file)
    log_in(user)
    assert user.get("/codes/isv.what").status_code == 200
    file.write_text(line("bob"))
    assert user.get("/codes/isv.what").status_code == 303


@pytest.mark.parametrize(
    "text", ["", "ann", "ann:x", "ann:scrypt$1$8$1$c2FsdHNhbHQ=$eA==", "ann:scrypt$40$8$1$c2FsdHNhbHQ=$" + "A" * 44]
)
def test_a_file_that_says_nothing_sound_is_told(browse: Browse, tmp_path: Path, text: str) -> None:
    file = tmp_path / "users"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="users") as caught:
        browse(dashboard_users_file=file)
    assert "c2Fsd" not in str(caught.value)


def test_a_proxy_that_is_trusted_says_who_looks(browse: Browse, seeded: Seeded) -> None:
    said = {"dashboard_user_header": "X-Forwarded-User", "dashboard_trusted_proxies": "10.0.0.0/24, 192.0.2.1"}
    named = {"x-forwarded-user": "ann"}
    trusted = browse(seeded.url, peer="10.0.0.9", base_url="http://relay.example", **said)
    assert "ann" in trusted.get("/codes/isv.what", **named).text
    assert trusted.get("/codes/isv.what").status_code == 403
    assert trusted.get("/codes/isv.what", **{"x-forwarded-user": "x" * 300}).status_code == 403
    for peer in ("10.0.1.9", "127.0.0.1", "", "nonsense"):
        assert browse(seeded.url, peer=peer, **said).get("/codes/isv.what", **named).status_code == 403


def test_the_application_around_it_may_say_who_looks(browse: Browse, seeded: Seeded) -> None:
    user = browse(
        seeded.url, peer="10.0.0.9", base_url="http://shop.example", user=lambda request: request.headers.get("x-me")
    )
    assert user.get("/codes/isv.what").status_code == 403
    assert "ann" in user.get("/codes/isv.what", **{"x-me": "ann"}).text


@pytest.mark.parametrize("said", ["x" * 201, "an\nn", "an\0n", "\ud800", "ann\u202e", "ann\u200b", 7, b"ann"])
def test_a_name_that_the_ledger_could_not_keep_is_told_before_anything_is_asked(browse: Browse, said: Any) -> None:
    """By whom it is given does not matter: the application, a proxy, the file of passwords. No database is there."""
    user = browse(user=lambda _: said, dashboard_allow_actions=True)
    for answer in (user.get("/messages"), user.send("POST", "/act/pause", data={"scope": "account:a"}, headers=SAME)):
        assert (answer.status_code, "a line of at most 200 characters" in answer.text) == (403, True)


def test_so_is_one_of_a_proxy_and_one_in_a_file(browse: Browse, tmp_path: Path) -> None:
    proxy = browse(dashboard_user_header="X-User", dashboard_trusted_proxies="127.0.0.1")
    assert "a line of at most 200 characters" in proxy.get("/", **{"x-user": "x" * 201}).text
    assert "Nobody says who you are" in proxy.get("/", **{"x-user": " "}).text
    (tmp_path / "users").write_text(line("x" * 201))
    with pytest.raises(ConfigurationError, match="longer than 200 characters"):
        browse(dashboard_users_file=tmp_path / "users")


@pytest.mark.parametrize("nobody", [None, "", " ", False])
def test_an_application_may_say_in_any_way_that_it_knows_nobody(browse: Browse, nobody: Any) -> None:
    assert "Nobody says who you are" in browse(user=lambda _: nobody).get("/").text


@pytest.mark.parametrize(
    ("env", "arguments", "told"),
    [
        ({}, ["--host", "0.0.0.0"], "does not listen on 0.0.0.0 for everybody"),
        ({}, ["--host", "*"], "does not listen on * for everybody"),
        ({"RELAY_DASHBOARD_USER_HEADER": "X-User"}, [], "needs RELAY_DASHBOARD_TRUSTED_PROXIES"),
        ({"RELAY_DASHBOARD_USER_HEADER": "X-User", "RELAY_DASHBOARD_TRUSTED_PROXIES": "here"}, [], "TRUSTED_PROXIES: "),
        ({"RELAY_DASHBOARD_USERS_FILE": "nowhere"}, [], "nowhere cannot be read"),
        ({"RELAY_DASHBOARD_USER_HEADER": "X", "RELAY_DASHBOARD_USERS_FILE": "x"}, [], "exclude each other"),
        ({"RELAY_DASHBOARD_ZONE": "Mars"}, [], "must be the name of a time zone"),
    ],
)
def test_it_refuses_to_start_where_strangers_would_look(env: dict[str, str], arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(
        command, ["dashboard", "--port", "0", *arguments], env={"RELAY_DATABASE_URL": NOWHERE, **env}
    )
    assert result.exit_code == 78, result.output
    assert told in result.stderr


def test_the_command_serves_until_it_is_told_to_stop(seeded: Seeded, start_relay: StartRelay) -> None:
    served = start_relay(
        "dashboard", "--port", "0", "--root-path", "/ops", env={"RELAY_DASHBOARD_DATABASE_URL": seeded.url}
    )
    url = served.wait_for_line(r"The dashboard is at (\S+)/ops/")[1]
    with urllib.request.urlopen(f"{url}/codes/isv.what") as answer:
        text = answer.read().decode()
    assert 'href="/ops/messages"' in text
    served.terminate()
    assert served.wait() == 0
    assert served.stdout == []


def test_who_sends_no_whole_request_is_hung_up_on(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, half a head, half a body, half a second head; whoever asks properly is answered."""
    monkeypatch.setattr("relay.dashboard.serving.REQUEST_SECONDS", 0.3)
    app = create_app(load(database_url=NOWHERE, dashboard_users_file=users))
    page = b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n"
    form = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    form += b"Content-Length: 99\r\nSec-Fetch-Site: same-origin\r\n\r\nname="
    halves = (b"", b"GET / HTTP/1.1\r\n", form, page + b"GET /")

    async def answered(port: int, sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        try:
            return await asyncio.wait_for(reader.read(), 4)  # uvicorn ends a kept connection after five
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def all_of() -> list[bytes]:
        ready = asyncio.Event()
        server = Server(configured(app), ready.set)
        with listener("127.0.0.1", 0) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            await ready.wait()
            port = listening.getsockname()[1]
            found = await asyncio.gather(*(answered(port, sent) for sent in halves))
            found.append(await answered(port, page.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
            server.stop()
            await serving
        return found

    assert [text[:12] for text in asyncio.run(all_of())] == [b"", b"", b"", b"HTTP/1.1 200", b"HTTP/1.1 200"]


def test_who_reads_nothing_of_an_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it slowly gets the whole of it."""
    monkeypatch.setattr("relay.dashboard.serving.REQUEST_SECONDS", 0.1)
    size = 12_000_000  # more than the kernel keeps for a client

    async def large(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for said in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{said}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * size})

    async def read(port: int, *, slowly: bool) -> int:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setblocking(False)
            loop, total = asyncio.get_running_loop(), 0
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not slowly:
                await hung_up.wait()
            with suppress(ConnectionError):
                while piece := await loop.sock_recv(client, 1_000_000):
                    total += len(piece)
                    await asyncio.sleep(0.05)
            return total

    async def both() -> tuple[int, int]:
        ready = asyncio.Event()
        server = Server(configured(large), ready.set)
        with listener("127.0.0.1", 0) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            await ready.wait()
            port = listening.getsockname()[1]
            whole = await asyncio.wait_for(read(port, slowly=True), 30)
            hung_up.clear()
            part = await asyncio.wait_for(read(port, slowly=False), 30)
            server.stop()
            await serving
        return whole, part

    hung_up = asyncio.Event()
    ended = _Impatient.connection_lost

    def connection_lost(self: _Impatient, exc: Exception | None) -> None:
        ended(self, exc)
        hung_up.set()

    monkeypatch.setattr(_Impatient, "connection_lost", connection_lost)
    whole, part = asyncio.run(both())
    assert part < size < whole


def test_a_new_password_ends_the_sessions_of_the_old_one(browse: Browse, tmp_path: Path) -> None:
    """And whoever logs in again has one session, not two."""
    file = tmp_path / "users"
    file.write_text(line())
    user = browse(dashboard_users_file=file)
    sessions = []
    for _ in range(2):
        assert log_in(user).status_code == 303
        sessions.append(dict(user.cookies))

    def status(session: dict[str, str]) -> int:
        user.cookies = httpx.Cookies(session)
        return user.get("/nowhere").status_code

    assert [status(one) for one in sessions] == [303, 404]
    file.write_text(line(password="another password") + "# of another length\n")
    assert status(sessions[1]) == 303


def test_hashes_that_others_may_read_are_told(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.dashboard.serving.serve", lambda *_, **__: None)
    env = {"RELAY_DATABASE_URL": NOWHERE, "RELAY_DASHBOARD_USERS_FILE": str(users)}
    for mode, told in ((0o644, True), (0o600, False)):
        users.chmod(mode)
        result = CliRunner().invoke(command, ["dashboard", "--host", "*"], env=env)
        assert (result.exit_code, "run: chmod go-r on it" in result.stderr) == (0, told), result.output


def test_a_password_is_hashed_from_standard_input(browse: Browse, tmp_path: Path) -> None:
    made = CliRunner().invoke(command, ["dashboard", "--hash-password"], input=f"{PASSWORD}\n")
    assert made.exit_code == 0
    assert made.stdout.startswith("scrypt$15$8$1$"), "that is what a guess costs"
    file = tmp_path / "users"
    file.write_text(f"ann:{made.stdout}")
    assert log_in(browse(dashboard_users_file=file)).status_code == 303
    assert PASSWORD not in made.stdout
    assert CliRunner().invoke(command, ["dashboard", "--hash-password"], input="short\n").exit_code == 78


def test_a_websocket_is_none_of_ours() -> None:
    app = create_app(load(database_url=NOWHERE))

    async def knock() -> None:
        await app({"type": "websocket", "path": "/", "headers": []}, None, None)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="only pages"):
        asyncio.run(knock())
