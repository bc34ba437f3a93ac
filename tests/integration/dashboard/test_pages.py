"""Every page in both languages, as a login that may only look on: sound HTML, and no markup of strangers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import html5lib
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from relay.dashboard import create_app
from relay.dashboard.guards import HEADERS, POLICY
from relay.dashboard.rendering import templates
from relay.settings import Settings, load
from tests.fixtures.dashboard import HOSTILE, MARKUP, PHONE, Browse, Browser, Seeded, parsed

PAGES = (
    "/", "/?span=day", "/messages", "/messages?state=failed", "/messages?key=key-1&account=default", "/messages/#7",
    "/messages/#1", "/messages/#3", "/calls", "/calls?state=open", "/calls?request=req-1", "/calls/1", "/calls/3",
    "/failures", "/duplicates", "/keys", "/pauses", "/pauses?kind=ended", "/ledger", "/days", "/codes/27",
    "/codes/isv.x/y",
)  # fmt: skip
SPACE = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def settings(seeded: Seeded) -> Settings:
    """The relay's own database is elsewhere: the dashboard has a login of its own."""
    return load(dashboard_database_url=seeded.url, database_url="postgresql://nobody@127.0.0.1:1/x", schema="relay")


@pytest.fixture(scope="module")
def browser(settings: Settings) -> Iterator[Browser]:
    made = Browser(create_app(settings))
    yield made
    made.close()


def document(text: str) -> Any:
    """The tree; what is no HTML by the book is an error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def elements(tree: Any, *names: str) -> Iterator[Any]:
    return (one for one in tree.iter() if isinstance(one.tag, str) and one.tag.rpartition("}")[2] in names)


def of(seeded: Seeded, path: str) -> str:
    return re.sub(r"#(\d+)", lambda found: str(seeded.ids[int(found[1])]), path)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sound_in_both_languages(browser: Browser, seeded: Seeded, path: str) -> None:
    said = {}
    for language, tag in (("en", "en"), ("zh-CN,en;q=0.5", "zh-CN")):
        answer = browser.get(of(seeded, path), **{"accept-language": language})
        assert answer.status_code == 200, answer.text
        tree = document(answer.text)
        said[tag] = "".join(tree.itertext())
        assert tree.get("lang") == tag
        assert len(list(elements(tree, "h1"))) == 1
        assert all(list(elements(table, "caption")) for table in elements(tree, "table"))
        assert all(head.get("scope") for head in elements(tree, "th"))
        assert all(
            field.get("type") == "hidden" or labelled(tree, field) for field in elements(tree, "input", "select")
        )
        assert all(picture.get("aria-label") for picture in elements(tree, "svg"))
        named = [one.get("id") for one in tree.iter() if one.get("id")]
        assert len(named) == len(set(named))
        assert not list(elements(tree, "style", "iframe", "object", "img"))
        scripts = [(urlsplit(one.get("src")).path, "defer" in one.attrib, one.text) for one in elements(tree, "script")]
        assert scripts == [("/static/dashboard.js", True, None)]
        assert not [name for one in tree.iter() for name in one.attrib if name.startswith("on") or name == "style"]
        assert "same" in {one.get("class") for one in elements(tree, "details")} or "/codes/" not in path
        assert PHONE not in answer.text
        assert all(
            parsed(line) for one in elements(tree, "code") if (line := "".join(one.itertext())).startswith("relay ")
        )
        assert not re.search("[\u202e\u0007\u001b]", answer.text)
    assert said["en"] != said["zh-CN"]
    assert not foreign(tree)


def foreign(tree: Any) -> list[str]:
    """What of English stands on a Chinese page: spans of time, colons after Chinese, and what is marked as English.

    Small beside a Chinese sentence is what is stored.
    """
    marked = ["".join(one.itertext()) for one in tree.iter() if one.get("lang") == "en" and one.tag != "small"]
    return [*re.findall(r"\d (?:s|min|h|d)\b|[一-鿿]:", "".join(tree.itertext())), *marked[:-1]]  # the last: a link


def labelled(tree: Any, field: Any) -> bool:
    return any(field in list(label.iter()) for label in elements(tree, "label"))


def test_every_link_of_every_page_leads_somewhere(browser: Browser, seeded: Seeded) -> None:
    """From page one on, whatever there is; nothing leads to another host."""
    seen, left = set[str](), ["/"]
    while left and len(seen) < 80:
        path = left.pop(0)
        if path in seen or path.startswith("/preferences"):
            continue
        seen.add(path)
        answer = browser.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for one in elements(document(answer.text), "a", "link", "form"):
            target = one.get("href") or one.get("action") or ""
            parts = urlsplit(urljoin(path, target))
            assert not parts.netloc, target
            left.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    assert {"/static/dashboard.css", "/messages", "/calls", "/ledger", "/days"} <= {
        urlsplit(path).path for path in seen
    }
    assert f"/messages/{seeded.ids[7]}" in seen


def test_a_number_leads_to_exactly_its_list(browser: Browser) -> None:
    numbers = [one for one in elements(document(browser.get("/").text), "dl") if one.get("class") == "numbers"]
    links = {one.get("href"): int(one.text) for one in elements(numbers[0], "a")}
    listed = {path: rows(browser.get(path).text) for path in links if path != "/failures"}
    assert listed == {path: count for path, count in links.items() if path != "/failures"}
    assert [count for path, count in links.items() if path == "/failures"] == [2]


def rows(text: str) -> int:
    """Of the first table of a page, but for the one that says that there is none."""
    lines = list(elements(next(elements(document(text), "tbody")), "tr"))
    return len([line for line in lines if "nothing" not in {one.get("class") for one in line}])


def test_texts_of_strangers_are_shown_and_do_nothing(browser: Browser, seeded: Seeded) -> None:
    text = browser.get(f"/messages/{seeded.ids[7]}").text
    told = "".join(document(text).itertext())
    assert MARKUP in told
    assert MARKUP + r"\u202etxt\u0007\u001b[31m" in told
    assert text.count("<script") == 1
    assert HOSTILE not in told
    link = next(one.get("href") for one in elements(document(text), "a") if "key=" in (one.get("href") or ""))
    assert f">{seeded.ids[7]}<" in browser.get(link).text, "the exact key is in the link"


def test_every_answer_bears_the_policy(browser: Browser) -> None:
    for path, kept in (("/", "no-store"), ("/nowhere", "no-store"), ("/messages/x", "no-store")):
        answer = browser.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert answer.headers["cache-control"] == kept
        assert "server" not in answer.headers
    assert POLICY == (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    for name, kind in (("dashboard.css", "text/css"), ("dashboard.js", "javascript")):
        answer = browser.get(f"/static/{name}")
        assert kind in answer.headers["content-type"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_looked_for_exactly_is_found_at_once(browser: Browser, seeded: Seeded) -> None:
    def leads_to(query: str) -> tuple[int, str | None]:
        answer = browser.get(f"/messages?{query}")
        return answer.status_code, answer.headers.get("location")

    assert leads_to(f"id={seeded.ids[3]}") == (303, f"/messages/{seeded.ids[3]}")
    assert leads_to("request=req-1") == (303, "/calls?request=req-1")
    assert leads_to("dedupe=dedupe-9&account=shop-2") == (303, f"/messages/{seeded.ids[9]}")
    assert leads_to("dedupe=dedupe-9") == (404, None)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/messages/0", 404), ("/messages/999999", 404), ("/messages/9223372036854775808", 404), ("/messages/x", 404),
        ("/messages/%C2%B2", 404), ("/calls/-1", 404), ("/nowhere", 404), ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404), ("/messages?state=gone", 400), ("/messages?id=1;drop", 400),
        ("/messages?older=%5B1e5%5D", 400), ("/messages?older=%5B99999999999999999999%5D", 400),
        ("/messages?older=%5B%5B%5B", 400), ("/messages?since=yesterday", 400), ("/messages?topic=%00", 400),
        ("/messages?topic=" + "x" * 1001, 400), ("/messages?topic=" + "x" * 9000, 414), ("/" + "x" * 3000, 414),
        ("/duplicates?older=%5B%22x%22%2C1%2C1%5D", 400), ("/pauses?kind=ended&older=%5B%22x%22%2C%22y%22%5D", 400),
        ("/codes/" + "x" * 201, 400), ("/codes/%3Cscript%3E", 200),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_without_a_traceback(browser: Browser, path: str, status: int) -> None:
    answer = browser.get(path)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    assert answer.text.count("<script") == answer.text.count("<script src=")


def test_a_language_and_a_zone_are_chosen_by_a_link_and_kept(browse: Browse, seeded: Seeded) -> None:
    browser, path = browse(seeded.url), f"/messages/{seeded.ids[1]}"
    at_first = browser.get(path).text
    assert re.search(r'<time datetime="[0-9T:.+-]+\+00:00">[0-9: -]+ <small>[0-9: -]+ UTC</small></time>', at_first)
    chosen = browser.get(f"/preferences?lang=zh&back={path}")
    assert (chosen.status_code, chosen.headers["location"]) == (303, path)
    browser.get(f"/preferences?zone=UTC&back={path}")
    told = browser.get(path, **{"accept-language": "en"}).text
    assert 'lang="zh-CN"' in told
    assert re.search(r'<time datetime="[0-9T:.+-]+\+00:00">[0-9: -]+</time>', told)
    for wrong in ("lang=xx", "zone=../../etc/passwd", "zone=Mars"):
        refused = browser.get(f"/preferences?{wrong}", **{"accept-language": "en"})
        assert (refused.status_code, "set-cookie" in refused.headers) == (400, False)
        assert "没有" in refused.text or "不认识" in refused.text, "in the language that was chosen before"
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "evil"):
        assert browser.get(f"/preferences?back={back}").headers["location"] == "/"


def test_under_a_prefix_every_link_has_it(settings: Settings, seeded: Seeded) -> None:
    mounted = create_app(settings)
    browser = Browser(Starlette(routes=[Mount("/ops/relay", mounted)], lifespan=mounted.router.lifespan_context))
    for path in ("/ops/relay/", f"/ops/relay/messages/{seeded.ids[7]}"):
        answer = browser.get(path)
        assert answer.status_code == 200
        links = [one.get("href") or one.get("action") for one in elements(document(answer.text), "a", "link", "form")]
        assert [one for one in links if not one.startswith(("/ops/relay/", "#"))] == []
    assert browser.get("/ops/relay/static/dashboard.css").status_code == 200
    assert (
        browser.get(f"/ops/relay/messages?id={seeded.ids[1]}").headers["location"]
        == f"/ops/relay/messages/{seeded.ids[1]}"
    )
    assert 'aria-current="page">Messages<' in browser.get("/ops/relay/messages").text
    browser.close()


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("/messages/?state=failed", "/messages?state=failed"),
        ("/api/messages/", "/api/messages"),
        ("/calls//", "/calls"),
        ("//evil.example/", "/evil.example"),
    ],
)
def test_a_slash_too_many_leads_to_the_page_and_to_no_other_host(browser: Browser, asked: str, leads_to: str) -> None:
    answer = browser.get(f"http://127.0.0.1:9465{asked}")
    assert (answer.status_code, answer.headers["location"]) == (303, leads_to)


def test_a_message_leads_to_its_trace(settings: Settings, seeded: Seeded) -> None:
    browser = Browser(create_app(load(settings, trace_url="https://traces.example.com/t/{trace_id}?a=1&b=2")))
    try:
        pages = [browser.get(f"/messages/{id_}").text for id_ in seeded.ids]
    finally:
        browser.close()
    found = {link for page in pages for link in re.findall(r'href="(https://traces[^"]*)"', page)}
    assert found
    assert all(re.fullmatch(r"https://traces.example.com/t/[0-9a-f]{32}\?a=1&amp;b=2", link) for link in found)


def test_what_a_pending_message_waits_for_is_on_its_page(browser: Browser, seeded: Seeded) -> None:
    held = "".join(document(browser.get(f"/messages/{seeded.ids[6]}").text).itertext())
    assert "Held for a person to decide" in held
    assert f"relay discard {seeded.ids[6]} --reason ..." in held
    paused = "".join(document(browser.get(f"/messages/{seeded.ids[12]}").text).itertext())
    assert "this is paused: account:shop-2." in paused
    assert "until resumed" in paused
    perhaps = "".join(document(browser.get(f"/messages/{seeded.ids[8]}").text).itertext())
    assert "this is paused" not in perhaps
    assert "An app key is paused: app:123. If its account has it, it waits. Because: because." in perhaps


@pytest.mark.parametrize("code", ["../../x", "..", "isv.x/..", "a//b", "..\\x", "."])
def test_a_code_that_reads_like_a_path_leads_nowhere(code: str) -> None:
    """A browser would take it for the way out of the dashboard."""
    link = templates().from_string('{% import "parts.html" as parts with context %}{{ parts.code_link(code) }}')
    shown = link.render(code=code, link=lambda path: path)
    assert "href" not in shown
    assert "href" in link.render(code="isv.x/y:z", link=lambda path: path)
