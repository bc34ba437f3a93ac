"""The dashboard in somebody's application, as the examples mount it: real servers, the host's own log-in, one prefix.

Under WSGI nobody tells an application of a beginning or an end, and the host may be behind a proxy that has TLS.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import html5lib
import httpx
import pytest
from django.conf import settings
from sqlalchemy import create_engine, text

from relay.dashboard.refreshing import HEADER
from tests.acceptance.test_django_example import environment
from tests.fixtures.acting import SAME
from tests.fixtures.database import Server
from tests.fixtures.django_project import databases_at
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.processes import RelayProcess
from tests.fixtures.waiting import eventually

pytestmark = only_where_nothing_is_set("the sessions of the examples are an application's own")
ROOT = Path(__file__).parents[2]
PREFIX = "/ops/relay"
GIVEN = {"SECRET_KEY": "of the tests", "WORD_OF_ANN": "please", "RELAY_DASHBOARD_ALLOW_ACTIONS": "true"}
APPLICATION_NAME = "as the dashboard"
# As any WSGI server; it tells less of a browser than others do.
SERVE_DJANGO = """
from wsgiref.simple_server import make_server
from shop.wsgi import application
server = make_server("127.0.0.1", 0, application)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
# As a server that loads the application once and forks its workers.
FORK = f"""
import os, signal, sys
from examples.flask_dashboard import app
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.alarm(15)
client = app.test_client()
client.post("/login", data={{"word": "please"}})
print(client.get("{PREFIX}/").status_code, flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Host:
    """``anonymous``: the status for whoever has not logged in, and where that leads."""

    process: RelayProcess
    url: str
    cookies: str
    anonymous: tuple[int, str | None]
    database: str

    def browser(self, cookies: str | None = None, **headers: str) -> httpx.Client:
        """Ann, who has logged in, unless these are somebody else's cookies; follows nothing."""
        sent = {"cookie": self.cookies if cookies is None else cookies, **headers}
        return httpx.Client(base_url=self.url, headers=sent, trust_env=False, timeout=20)


class Begin(Protocol):
    def __call__(self, name: str) -> Host: ...


@pytest.fixture(scope="module")
def begin(postgres: Server, migrated_template: str, django_template: str) -> Iterator[Begin]:
    """The example of this name as a server, on a database of its own."""
    with ExitStack() as stack:

        def begin(name: str) -> Host:
            template = django_template if name == "django" else migrated_template
            url = postgres.url(stack.enter_context(postgres.fresh_database(template)))
            if name == "django":
                stack.enter_context(databases_at(default=url))
            host = HOSTS[name](url)
            stack.callback(host.process.reap)
            return host

        yield begin


def flask(url: str) -> Host:
    program = ("flask", "--app", "examples.flask_dashboard", "run", "--port", "0")
    return Host(*_served(url, "data", *program), anonymous=(302, "/login"), database=url)


def fastapi(url: str) -> Host:
    program = ("uvicorn", "examples.fastapi_dashboard:app", "--port", "0")
    return Host(*_served(url, "json", *program), anonymous=(403, None), database=url)


def django(url: str) -> Host:
    there = environment(url)
    there["SHOP_DATABASE"] = there["SHOP_TEST_DATABASE"]
    there["PYTHONPATH"] = f"{ROOT}:{ROOT / 'examples' / 'django_shop'}"
    there |= {**GIVEN, "DJANGO_SECRET_KEY": settings.SECRET_KEY, "RELAY_DASHBOARD_DATABASE_URL": named(url)}
    process = RelayProcess("-c", SERVE_DJANGO, env=there, command=(sys.executable,))
    at = process.wait_for_line(r"listening on (\S+)", "stdout")[1]
    return Host(process, at, log_in("ann", superuser=True), (303, f"/admin/login/?next={PREFIX}/"), url)


HOSTS = {"flask": flask, "fastapi": fastapi, "django": django}


def _served(url: str, form: str, *program: str) -> tuple[RelayProcess, str, str]:
    """The server, where it listens, and the cookies of Ann."""
    there = {"RELAY_DASHBOARD_DATABASE_URL": named(url), **GIVEN}
    process = RelayProcess("-m", *program, env=there, command=(sys.executable,))
    at = process.wait_for_line(r"[Rr]unning on (http://\S+)")[1]
    answer = httpx.post(f"{at}/login", trust_env=False, **{form: {"word": GIVEN["WORD_OF_ANN"]}})  # type: ignore[arg-type]
    return process, at, answer.headers["set-cookie"].partition(";")[0]


def log_in(name: str, *, superuser: bool = False) -> str:
    """The cookies of a new user of Django's default database."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=True, is_superuser=superuser))
    return client.cookies.output(attrs=[], header="", sep=";").strip()


def named(url: str) -> str:
    """So that its connections are known among others."""
    return f"{url}{'&' if '?' in url else '?'}application_name={APPLICATION_NAME}"


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, begin: Begin) -> Host:
    return begin(request.param)


def links(page: httpx.Response) -> list[str]:
    tree = html5lib.parse(page.text, namespaceHTMLElements=False)
    tags = [tag for name in ("a", "link", "form", "script") for tag in tree.iter(name)]
    return [str(tag.get("href") or tag.get("action") or tag.get("src")) for tag in tags]


def asked(url: str, question: str, **values: object) -> list[tuple[Any, ...]]:
    engine = create_engine(url)
    try:
        with engine.connect() as asking:
            return [tuple(row) for row in asking.execute(text(question), values)]
    finally:
        engine.dispose()


def connections(url: str) -> int:
    found = "select count(*) from pg_stat_activity where application_name = :name and datname = current_database()"
    return int(asked(url, found, name=APPLICATION_NAME)[0][0])


def test_pages_forms_and_cookies_stay_under_the_prefix(host: Host) -> None:
    with host.browser() as ann:
        assert follow(ann, PREFIX) == f"{PREFIX}/"
        page = ann.get(f"{PREFIX}/")
        assert page.status_code == 200
        assert "ann" in page.text.partition("<footer>")[2]
        assert [link for link in links(page) if not link.startswith((f"{PREFIX}/", "#"))] == []
        assets = re.findall(r'(?:<link rel="\w+" href|<script src)="([^"]+)"', page.text)
        kinds = {ann.get(asset).headers["content-type"].partition(";")[0] for asset in assets}
        assert kinds == {"text/css", "image/svg+xml", "text/javascript"}
        assert "<main" in ann.get(f"{PREFIX}/", headers={HEADER: "1"}).text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert follow(ann, f"{PREFIX}/messages/?state=failed") == f"{PREFIX}/messages?state=failed"
        assert follow(ann, f"{PREFIX}/api/messages/") == f"{PREFIX}/api/messages"
        assert ann.get(f"{PREFIX}/api/messages").json()["items"] == []
        assert ann.get(f"{PREFIX}/nothing").status_code == 404
        answer = ann.get(f"{PREFIX}/preferences?lang=zh&zone=UTC&back=/messages")
        assert answer.headers["location"] == f"{PREFIX}/messages"
        assert len(answer.headers.get_list("set-cookie")) == 2
        assert all(f"Path={PREFIX}/" in cookie for cookie in answer.headers.get_list("set-cookie"))
        assert 'lang="zh-CN"' in ann.get(f"{PREFIX}/messages").text


def follow(browser: httpx.Client, path: str) -> str:
    """Where this leads on the same host, whatever that is called outside: hosts redirect to themselves by its name."""
    answer = browser.get(path, headers={"host": "shop.example.com", "x-forwarded-proto": "https"})
    assert answer.is_redirect, answer.text
    where = urlsplit(answer.headers["location"])
    assert where.netloc in ("", "shop.example.com")
    return where.path + (f"?{where.query}" if where.query else "")


def test_what_is_done_on_a_page_is_done_by_whom_the_host_names(host: Host) -> None:
    typed = {"scope": "account:shop 2", "seen": "", "minutes": "", "reason": "stock-taking"}
    with host.browser(**SAME) as ann:
        assert ann.get(f"{PREFIX}/act/pause?scope=account:shop+2").status_code == 200
        assert ann.post(f"{PREFIX}/act/pause", data={**typed, "actor": "bob"}).status_code == 400
        done = ann.post(f"{PREFIX}/act/pause", data=typed)
    assert done.status_code == 200, done.text
    assert asked(host.database, "select actor, action, reason from relay.action") == [("ann", "pause", "stock-taking")]


def test_the_host_says_who_looks(host: Host) -> None:
    """And nobody by a header that looks like what the host says."""
    for headers in ({}, {"relay.user": "ann", "relay-user": "ann", "x-forwarded-user": "ann"}):
        with host.browser("", **headers) as stranger:
            for path in ("/", "/api/messages", "/nothing"):
                answer = stranger.get(PREFIX + path)
                assert (answer.status_code, answer.headers.get("location")) == host.anonymous


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
        ({"origin": "https://shop.example.com", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://shop.example.com"}, 303),
        ({"sec-fetch-site": "same-origin"}, 303),
    ],
)
def test_a_form_comes_from_a_page_of_the_dashboard(host: Host, headers: dict[str, str], status: int) -> None:
    """TLS ended before the host, which has the name that it has outside."""
    with host.browser(**{"host": "shop.example.com", **headers}) as ann:
        answer = ann.post(f"{PREFIX}/logout")
    assert answer.status_code == status, answer.text
    assert answer.headers.get("location", f"{PREFIX}/") == f"{PREFIX}/"


@pytest.mark.parametrize("host", ["django"], indirect=True)
def test_a_user_of_django_without_the_permission_is_told_so(host: Host) -> None:
    with host.browser(log_in("bob")) as bob:
        assert bob.get(f"{PREFIX}/").status_code == 403
        assert bob.get("/admin/").status_code == 200


@pytest.mark.parametrize("name", ["flask", "fastapi"])
def test_connections_are_made_when_a_page_wants_them_and_end_with_the_server(begin: Begin, name: str) -> None:
    host = begin(name)
    # A server that tells of its beginning makes the first one ready then; through WSGI nobody tells.
    assert connections(host.database) <= (name == "fastapi")
    with host.browser() as ann:
        assert {ann.get(f"{PREFIX}/").status_code for _ in range(3)} == {200}
    assert 1 <= connections(host.database) <= 4
    host.process.terminate()
    host.process.wait(10)
    eventually(lambda: connections(host.database) == 0)


def test_a_server_may_load_the_application_and_fork(database_url: str) -> None:
    there = {"RELAY_DASHBOARD_DATABASE_URL": database_url, **GIVEN}
    loaded = RelayProcess("-c", FORK, env=there, command=(sys.executable,))
    try:
        assert loaded.wait(20) == 0, loaded.report()
    finally:
        loaded.reap()
    assert loaded.stdout == ["200"], loaded.report()
