"""The sandbox on a real socket, seen by an HTTP client: formats, compression, every fault on the wire, the windows."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from relay.errors import UnreachableError
from relay.sandbox import paging
from relay.sandbox.faults import KINDS
from relay.sandbox.platform import APP_KEY, APP_SECRET, Platform, PlatformPolicy, ResultsOnSuccess
from relay.sandbox.server import RunningSandbox, running_sandbox

DEADLINE_SECONDS = 10


def signed(elements: list[dict[str, Any]], **changes: str) -> dict[str, str]:
    """The parameters of a good call, signed with HMAC-SHA256 by hand."""
    params = {
        "method": "taobao.tmc.messages.produce",
        "app_key": APP_KEY,
        "timestamp": (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S"),
        "v": "2.0",
        "format": "json",
        "sign_method": "hmac-sha256",
        "messages": json.dumps(elements, ensure_ascii=False),
        **changes,
    }
    text = "".join(name + params[name] for name in sorted(params))
    params["sign"] = hmac.new(APP_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest().upper()
    return params


def elements(*contents: str) -> list[dict[str, Any]]:
    return [{"topic": "taobao_jds_TradeTrace", "content": content} for content in contents]


GOOD = elements('{"tid":1}', '{"tid":2,"seller_nick":"向阳 a/b+c&d=e%"}')


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox() as running:
        yield running


@pytest.fixture
async def client(sandbox: RunningSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=DEADLINE_SECONDS, trust_env=False) as opened:
        yield opened


async def produce(client: httpx.AsyncClient, sent: list[dict[str, Any]], **changes: str) -> httpx.Response:
    return await client.post("/router/rest", data=signed(sent, **changes))


async def test_json(client: httpx.AsyncClient) -> None:
    response = await produce(client, GOOD)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/javascript;charset=UTF-8"
    assert " " not in response.text
    body = response.json()["tmc_messages_produce_response"]
    assert body.pop("request_id").isalnum()
    assert body == {
        "is_all_success": True,
        "results": {"tmc_produce_result": [{"is_success": True}, {"is_success": True}]},
    }


async def test_xml_is_the_default(client: httpx.AsyncClient) -> None:
    params = signed(GOOD)
    del params["format"]
    response = await client.post("/router/rest", data=params)
    assert response.headers["content-type"] == "text/xml;charset=UTF-8"
    assert response.text.startswith('<?xml version="1.0" encoding="utf-8" ?><error_response><code>25</code>')
    response = await produce(client, GOOD, format="xml")
    assert response.text.startswith('<?xml version="1.0" encoding="utf-8" ?><tmc_messages_produce_response>')
    assert response.text.endswith("</tmc_messages_produce_response><!--sandbox.local-->")


async def test_simplified_json(client: httpx.AsyncClient) -> None:
    body = (await produce(client, GOOD, simplify="true")).json()
    assert body["results"] == [{"is_success": True}, {"is_success": True}]


async def test_compression_is_for_those_who_ask(client: httpx.AsyncClient) -> None:
    packed = await client.post("/router/rest", data=signed(GOOD), headers={"Accept-Encoding": "gzip"})
    plain = await client.post("/router/rest", data=signed(GOOD), headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json()["tmc_messages_produce_response"]["is_all_success"] is True
    assert plain.json()["tmc_messages_produce_response"]["is_all_success"] is True


@pytest.mark.parametrize("in_query", [{"messages"}, {"sign", "method", "app_key", "timestamp"}, None])
async def test_parameters_may_travel_in_query_and_form(client: httpx.AsyncClient, in_query: set[str] | None) -> None:
    params = signed(GOOD)
    query = {name: value for name, value in params.items() if in_query is None or name in in_query}
    form = {name: value for name, value in params.items() if name not in query}
    verb = "POST" if form else "GET"
    response = await client.request(verb, "/router/rest", params=query, data=form or None)
    assert response.json()["tmc_messages_produce_response"]["is_all_success"] is True


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH"])
async def test_other_verbs_are_error_9_with_status_200(client: httpx.AsyncClient, verb: str) -> None:
    response = await client.request(verb, "/router/rest", params=signed(GOOD))
    assert response.status_code == 200
    assert response.text.startswith('{"error_response":{"code":9,')


async def test_a_form_that_is_not_utf8_is_answered(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    content = str(httpx.QueryParams(signed(GOOD))).encode() + b"&x=%ff\xff"
    response = await client.post("/router/rest", content=content, headers=headers)
    assert response.json()["error_response"]["code"] == 25


# --- faults on the wire -----------------------------------------------------------------------------------------------


async def test_every_fault_has_a_scenario() -> None:
    assert set(REFUSED) | set(SPOILT) | set(CUT) | {"refuse", "refuse-later", "http-502", "slow"} == set(KINDS)


REFUSED = {
    "refuse-batch": (41, "isv.invalid-parameter"),
    "throttle": (7, "accesscontrol.limited-by-app-api-access-count"),
    "quota": (7, "accesscontrol.limited-by-app-access-count"),
    "down": (15, "isp.remote-service-error"),
    "session-expired": (27, "session-expired"),
    "wrong-sign": (25, None),
    "clock": (31, None),
    "no-permission": (11, "isv.permission-api-package-limit"),
}


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("fault", sorted(REFUSED))
async def test_refused_calls(sandbox: RunningSandbox, client: httpx.AsyncClient, fault: str, form: str) -> None:
    sandbox.platform.set_faults([fault])
    response = await produce(client, GOOD, format=form)
    code, sub_code = REFUSED[fault]
    assert response.status_code == 200
    assert (f'{{"error_response":{{"code":{code},' if form == "json" else f"<code>{code}</code>") in response.text
    assert sub_code is None or sub_code in response.text
    assert sandbox.platform.messages == []


@pytest.mark.parametrize(
    ("fault", "code"), [("refuse", "isv.invalid-parameter"), ("refuse-later", "isp.remote-service-error")]
)
async def test_refused_messages(sandbox: RunningSandbox, client: httpx.AsyncClient, fault: str, code: str) -> None:
    sandbox.platform.set_faults([f'{fault}="tid":2'])
    results = (await produce(client, GOOD, simplify="true")).json()["results"]
    assert [result.get("error_code") for result in results] == [None, code]
    assert [message.content for message in sandbox.platform.messages] == ['{"tid":1}']


CUT = {"cut-before": 0, "cut-after": 2}


@pytest.mark.parametrize("fault", sorted(CUT))
async def test_cuts_leave_not_a_byte(sandbox: RunningSandbox, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.platform.set_faults([fault])
    host, port = sandbox.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = str(httpx.QueryParams(signed(GOOD))).encode()
    head = f"POST /router/rest HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            received = await reader.read()
        except ConnectionResetError:
            received = b""
    assert received == b""
    writer.close()
    assert len(sandbox.platform.messages) == CUT[fault]
    assert caplog.records == []


@pytest.mark.parametrize("fault", sorted(CUT))
async def test_after_a_cut_the_next_call_succeeds(
    sandbox: RunningSandbox, client: httpx.AsyncClient, fault: str
) -> None:
    sandbox.platform.set_faults([f"{fault}@#2"])
    assert (await produce(client, GOOD)).status_code == 200
    with pytest.raises(httpx.TransportError):
        await produce(client, GOOD)
    assert (await produce(client, GOOD)).status_code == 200
    (record,) = [call for call in sandbox.platform.calls if call.status is None]
    assert (record.number, record.fault, record.stored) == (2, fault, fault == "cut-after")


SPOILT = {
    "timeout": '{"error_response":{"code":15,"msg":"Remote service error","sub_code":"isp.remote-service-timeout",',
    "truncated": '{"tmc_messages_produce_response":{"is_all_success":true,',
    "short-list": '{"tmc_messages_produce_response":{"is_all_success":false,"results":{"tmc_produce_result":['
    '{"is_success":true}]}',
    "long-list": '{"tmc_messages_produce_response":{"is_all_success":false,"results":{"tmc_produce_result":['
    '{"is_success":true},{"is_success":true},{"is_success":true}]}',
    "no-results": '{"tmc_messages_produce_response":{"is_all_success":true,"request_id":',
}


@pytest.mark.parametrize("fault", sorted(SPOILT))
async def test_spoilt_answers_of_stored_messages(
    sandbox: RunningSandbox, client: httpx.AsyncClient, fault: str
) -> None:
    sandbox.platform.set_faults([fault])
    response = await produce(client, GOOD)
    assert response.status_code == 200
    assert response.text.startswith(SPOILT[fault])
    assert len(sandbox.platform.messages) == 2
    if fault == "truncated":
        with pytest.raises(json.JSONDecodeError):
            response.json()


async def test_a_proxy_answers_html(sandbox: RunningSandbox, client: httpx.AsyncClient) -> None:
    sandbox.platform.set_faults(["http-502"])
    response = await produce(client, GOOD)
    assert response.status_code == 502
    assert response.headers["content-type"] == "text/html;charset=UTF-8"
    assert "<h1>502 Bad Gateway</h1>" in response.text
    assert sandbox.platform.messages == []


async def test_a_slow_answer_outlasts_an_impatient_client() -> None:
    async with running_sandbox(Platform(faults=["slow=60"])) as sandbox:
        async with httpx.AsyncClient(base_url=sandbox.url, timeout=0.2, trust_env=False) as client:
            with pytest.raises(httpx.ReadTimeout):
                await produce(client, GOOD)
        assert len(sandbox.platform.messages) == 2


async def test_a_slow_answer_comes_late(sandbox: RunningSandbox, client: httpx.AsyncClient) -> None:
    sandbox.platform.set_faults(["slow=0.2"])
    started = time.monotonic()
    assert (await produce(client, GOOD)).json()["tmc_messages_produce_response"]["is_all_success"] is True
    assert time.monotonic() - started >= 0.2


# --- windows and switches ---------------------------------------------------------------------------------------------


async def test_messages_are_listed_in_order_and_filtered(client: httpx.AsyncClient) -> None:
    await produce(client, GOOD)
    await produce(client, [{"topic": "another", "content": '{"tid":3}', "target_group": "g"}])
    listed = (await client.get("/messages")).json()
    assert [(row["id"], row["index"], row["content"]) for row in listed] == [
        (1, 0, '{"tid":1}'),
        (2, 1, GOOD[1]["content"]),
        (3, 0, '{"tid":3}'),
    ]
    assert set(listed[0]) == {
        "id", "topic", "content", "target_group", "target_app_key", "json_ex_content", "request_id", "index",
        "app_key", "session_tail", "received_at",
    }  # fmt: skip

    async def ids(**filters: str) -> list[int]:
        return [row["id"] for row in (await client.get("/messages", params=filters)).json()]

    assert await ids(topic="another") == [3]
    assert await ids(contains="向阳") == [2]
    assert await ids(after="1") == [2, 3]
    assert await ids(after="1", limit="1") == [2]
    assert await ids(limit="0") == []
    assert await ids(limit="-1") == []
    assert await ids(after="-5") == [1, 2, 3]
    assert await ids(after="9") == []
    assert (await client.get("/messages", params={"limit": "many"})).status_code == 400


async def test_lists_come_in_pages_that_lead_to_the_next(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    for n in range(5):
        await produce(client, elements(f'{{"n":{n}}}', '{"other":1}'))

    async def pages(path: str) -> list[list[int]]:
        found, following = [], f"http://sandbox{path}"
        while following:
            response = await client.get(following.removeprefix("http://sandbox"))
            found.append([row.get("id", row.get("number")) for row in response.json()])
            link = response.links.get("next", {}).get("url")
            following = urljoin(following, link) if link else ""
        return found

    assert await pages("/messages") == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert await pages("/messages?contains=other") == [[2, 4], [6, 8], [10]]
    assert await pages("/messages?limit=4&after=1&topic=" + GOOD[0]["topic"]) == [[2, 3, 4, 5], [6, 7, 8, 9], [10]]
    assert await pages("/calls") == [[1, 2], [3, 4], [5]]
    monkeypatch.setattr(paging, "LONGEST_PAGE", 3)
    assert await pages("/messages?limit=1000000") == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    assert (await client.get("/calls", params={"after": "x"})).status_code == 400


async def test_a_lone_surrogate_is_listed_as_it_came(client: httpx.AsyncClient) -> None:
    content = '{"a":"\ud800"}'
    await produce(client, [], messages=json.dumps(elements(content)))
    response = await client.get("/messages")
    assert response.json()[0]["content"] == content
    assert (await client.get("/")).status_code == 200


async def test_calls_tell_what_became_of_each(sandbox: RunningSandbox, client: httpx.AsyncClient) -> None:
    sandbox.platform.set_faults(["down@#2"])
    answers = [await produce(client, GOOD) for _ in range(2)]
    first, second = (await client.get("/calls")).json()
    assert first["request_id"] == answers[0].json()["tmc_messages_produce_response"]["request_id"]
    assert second["request_id"] == answers[1].json()["error_response"]["request_id"]
    assert (first["number"], first["count"], first["status"], first["code"], first["fault"]) == (1, 2, 200, None, None)
    assert (second["stored"], second["code"], second["fault"]) == (False, 15, "down")


async def test_faults_are_replaced_and_all_is_forgotten(client: httpx.AsyncClient) -> None:
    assert (await client.post("/faults", json=["clock", "slow=0"])).json() == ["clock", "slow=0"]
    assert (await produce(client, GOOD)).json()["error_response"]["code"] == 31
    refused = await client.post("/faults", json=["cut-afte"])
    assert refused.status_code == 400
    assert "cut-after" in refused.json()["hint"]
    for wrong in (b"{", b'"clock"', b"[1]", b"\xff"):
        assert (await client.post("/faults", content=wrong)).status_code == 400
    assert (await produce(client, GOOD)).json()["error_response"]["code"] == 31
    assert (await client.post("/faults", json=[])).json() == []
    await produce(client, GOOD)
    assert (await client.delete("/messages")).status_code == 204
    assert (await client.get("/messages")).json() == []
    assert (await client.get("/calls")).json() == []


async def test_the_page_shows_the_newest_200_and_escapes_all(client: httpx.AsyncClient) -> None:
    assert "Nothing has arrived yet." in (await client.get("/")).text
    for start in range(0, 250, 50):
        await produce(client, elements(*(f'{{"n":"<b>{number}</b>"}}' for number in range(start, start + 50))))
    page = await client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "The newest 200 of 250 messages." in page.text
    assert "<script" not in page.text
    assert "<b>" not in page.text
    assert "&lt;b&gt;249&lt;" in page.text
    assert "&lt;b&gt;50&lt;" in page.text
    assert "&lt;b&gt;49&lt;" not in page.text
    assert page.text.index("&lt;b&gt;249&lt;") < page.text.index("&lt;b&gt;248&lt;")


# --- starting and stopping --------------------------------------------------------------------------------------------


async def test_a_policy_shows_on_the_wire() -> None:
    policy = PlatformPolicy(results_on_success=ResultsOnSuccess.EMPTY)
    async with (
        running_sandbox(Platform(policy)) as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client,
    ):
        assert '"results":{},' in (await produce(client, GOOD)).text


async def test_a_taken_port_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnreachableError, match=f"cannot listen on 127.0.0.1 port {port}"):
            async with running_sandbox(port=port):
                raise AssertionError("it listens on a port that is taken")


PROGRAM = """
from relay.sandbox.app import create_app
from relay.sandbox.platform import Platform
from relay.sandbox.server import serve
serve(create_app(Platform(faults=["slow=60"])), "127.0.0.1", 0, lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_blocking_form_ends_on_a_signal_even_while_answers_are_delayed(number: int) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert program.stdout is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        url = (await program.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_SECONDS, trust_env=False) as client:
            late = asyncio.create_task(produce(client, GOOD))
            while not (await client.get("/messages")).json():
                pass
            program.send_signal(number)
            with pytest.raises(httpx.TransportError):
                await late
        output, errors = await program.communicate()
    assert (output, errors, program.returncode) == (b"stopped\n", b"", 0)
