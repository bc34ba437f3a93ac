"""The command behind a proxy that takes a prefix off the path: everything a browser is told leads through the proxy."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import html5lib
import httpx
import pytest

from tests.fixtures.dashboard import Seeded
from tests.fixtures.people import PASSWORD, line
from tests.fixtures.processes import StartRelay

PREFIX = "/ops/relay"
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "date", "server")


@contextmanager
def rewriting_proxy(backend: int) -> Iterator[str]:
    """Its URL. It has TLS, or so it says; what is not under the prefix it does not know."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(502)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {**dict(self.headers), "X-Forwarded-For": self.client_address[0], "X-Forwarded-Proto": "https"}
            asking = http.client.HTTPConnection("127.0.0.1", backend)
            asking.request(self.command, self.path.removeprefix(PREFIX), body, headers)
            answer = asking.getresponse()
            said = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)
            asking.close()

        do_POST = do_GET  # noqa: N815  the name is that of the library

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture
def outside(seeded: Seeded, start_relay: StartRelay, tmp_path: Path) -> Iterator[str]:
    """The proxy's URL, before a dashboard with people."""
    file = tmp_path / "users"
    file.write_text(line())
    file.chmod(0o600)
    served = start_relay(
        *("dashboard", "--port", "0", "--root-path", PREFIX),
        env={
            "RELAY_DASHBOARD_DATABASE_URL": seeded.url,
            "RELAY_DASHBOARD_USERS_FILE": str(file),
            "RELAY_DASHBOARD_TRUSTED_PROXIES": "127.0.0.1",
        },
    )
    port = int(served.wait_for_line(rf"The dashboard is at http://127.0.0.1:(\d+){PREFIX}/")[1])
    with rewriting_proxy(port) as url:
        yield url


def test_a_browser_never_leaves_the_prefix(outside: str, seeded: Seeded) -> None:
    with httpx.Client(base_url=outside, trust_env=False) as browser:
        asked = browser.get(f"{PREFIX}/messages/?state=failed")
        assert asked.headers["location"].startswith(f"{PREFIX}/login?next=")
        form = {"name": "ann", "password": PASSWORD, "next": f"{PREFIX}/messages/?state=failed"}
        assert browser.post(f"{PREFIX}/login", data=form, headers={"origin": "http://evil"}).status_code == 403
        entered = browser.post(f"{PREFIX}/login", data=form, headers={"origin": outside})
        assert (entered.status_code, entered.headers["location"]) == (303, f"{PREFIX}/messages/?state=failed")
        cookie = entered.headers["set-cookie"]
        assert "Secure" in cookie
        assert f"Path={PREFIX}/;" in cookie
        session = {"cookie": cookie.partition(";")[0]}  # which httpx keeps for TLS, as a browser does
        assert browser.get(form["next"], headers=session).headers["location"] == f"{PREFIX}/messages?state=failed"
        assert visited(browser, session, f"{PREFIX}/") > 30
        by_id = browser.get(f"{PREFIX}/messages?id={seeded.ids[1]}", headers=session)
        assert by_id.headers["location"] == f"{PREFIX}/messages/{seeded.ids[1]}"
        left = browser.post(f"{PREFIX}/logout", headers={**session, "sec-fetch-site": "same-origin"})
        assert left.headers["location"] == f"{PREFIX}/"


def visited(browser: httpx.Client, session: dict[str, str], start: str) -> int:
    """How many pages and files are found from here by links, each under the prefix."""
    known, ahead = {start}, [start]
    while ahead:
        at = ahead.pop()
        answer = browser.get(at, headers=session)
        assert answer.status_code in (200, 303), at
        found = [answer.headers["location"]] if answer.is_redirect else links(answer.text)
        for link in (urljoin(at, one) for one in found if not one.startswith("#")):
            assert link.startswith(f"{PREFIX}/"), f"{at} leads to {link}"
            if link not in known and not re.search(r"older=|newer=|preferences|back=|logout", link) and len(known) < 60:
                known.add(link)
                ahead.append(link)
    assert {f"{PREFIX}/static/dashboard.{kind}" for kind in ("css", "js")} | {f"{PREFIX}/failures"} <= {
        urlsplit(link).path for link in known
    }
    return len(known)


def links(page: str) -> list[str]:
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    tags = [tag for name in ("a", "link", "form", "script") for tag in tree.iter(name)]
    return [str(tag.get("href") or tag.get("action") or tag.get("src")) for tag in tags]
