"""The platform over HTTP: the gateway itself, and windows into it for people and tests.

    /router/rest      the gateway, any verb; query and form are merged, multipart is not read
    GET    /          the page for people
    GET    /messages  accepted messages in order; ?topic= &contains= &after=ID &limit=N, in pages of 1,000
    DELETE /messages  forget messages and calls
    GET    /calls     every call since then; ?after=NUMBER &limit=N, likewise
    POST   /faults    replace the faults: a JSON list of texts

What changes the sandbox is refused to a web page elsewhere, which a browser may well lead here (``foreign``).

Kept apart from the real gateway on purpose: connections stay open between calls. A cut needs the transport, which
``server.py`` puts into the scope: the caller gets no byte of an answer.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from relay.errors import ConfigurationError
from relay.sandbox.answers import Rendered, render
from relay.sandbox.page import render_page
from relay.sandbox.paging import page_of
from relay.sandbox.platform import Platform
from relay.sandbox.records import AcceptedMessage, CallRecord, row_of
from relay.showing import json_text

TRANSPORT = "relay.transport"
_Row = TypeVar("_Row", AcceptedMessage, CallRecord)
VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_OWN_NAMES = (".localhost", ".local", ".internal", ".test")  # that no stranger's DNS can give
FORM_TYPE = "application/x-www-form-urlencoded"


def create_app(platform: Platform) -> Starlette:
    """The ASGI application around this platform. Run it through ``server.py``, or connections cannot be cut."""
    app = Starlette(
        routes=[
            Route("/router/rest", gateway, methods=VERBS),
            Route("/", index),
            Route("/messages", messages),
            Route("/messages", forget, methods=["DELETE"]),
            Route("/calls", calls),
            Route("/faults", set_faults, methods=["POST"]),
        ]
    )
    app.state.platform = platform
    return app


async def gateway(request: Request) -> Response:
    """One call of the platform: read, handled at once, then answered late, broken or well."""
    try:
        params = await _params(request)
    except ClientDisconnect:  # the call never arrived whole, so it never happened
        return Response()
    reply = _platform(request).handle(request.method, params)
    if reply.delay_seconds:
        await _until_gone(request, reply.delay_seconds)
    rendered = render(reply)
    if rendered.status is None:
        cast(asyncio.Transport, request.scope[TRANSPORT]).abort()
        await _until_gone(request)
        return Response()
    return _packed(request, rendered, rendered.status)


async def index(request: Request) -> Response:
    """The page for people: what arrived, and what troubles are in force."""
    page = render_page(_platform(request))
    return HTMLResponse(page.encode("utf-8", "backslashreplace"))


async def messages(request: Request) -> Response:
    """A page of what was accepted, the oldest first: of a topic, with a text in the content, after an id."""
    topic, contains = (request.query_params.get(name) for name in ("topic", "contains"))

    def wanted(message: AcceptedMessage) -> bool:
        return topic in (None, message.topic) and (contains or "") in message.content

    return _page(request, _platform(request).messages, lambda message: message.id, wanted)


async def forget(request: Request) -> Response:
    """Forget what was accepted; 403 for a page of another site."""
    if refusal := foreign(request):
        return refusal
    _platform(request).forget()
    return Response(status_code=204)


async def calls(request: Request) -> Response:
    """A page of the calls, refused ones too, the oldest first: after a number."""
    return _page(request, _platform(request).calls, lambda call: call.number, lambda _: True)


async def set_faults(request: Request) -> Response:
    """Replace the faults by those of the body, a JSON list of texts; 400 with a hint where one is misspelt."""
    if refusal := foreign(request):
        return refusal
    platform = _platform(request)
    try:
        texts = json.loads(await request.body())
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return _json({"error": "The body must be a JSON list of texts."}, 400)
    try:
        platform.set_faults(cast(Iterable[str], texts))
    except ConfigurationError as error:
        return _json({"error": str(error), "hint": error.hint}, 400)
    return _json(platform.faults)


def foreign(request: Request) -> Response | None:
    """A refusal of what a page elsewhere makes a browser send: from its own origin, or to a name that it gave us."""
    host = request.url.hostname or ""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return _json({"error": "A page of another origin cannot change the sandbox."}, 403)
    if "." in host and not host.endswith(_OWN_NAMES) and not _is_address(host):
        hint = "Call it by its address, by localhost or by a name without a dot."
        return _json({"error": f"The sandbox is not changed under the name {host}.", "hint": hint}, 403)
    return None


def _page(
    request: Request, rows: Sequence[_Row], number: Callable[[_Row], int], wanted: Callable[[_Row], bool]
) -> Response:
    try:
        page, headers = page_of(rows, number, request.query_params, wanted)
    except ValueError:
        return _json({"error": "after and limit must be whole numbers."}, 400)
    return _json([row_of(row) for row in page], headers=headers)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _platform(request: Request) -> Platform:
    return cast(Platform, request.app.state.platform)


async def _params(request: Request) -> dict[str, str]:
    """Query and form together, since official SDKs use either or both; the form wins where both have a name."""
    encoded = [request.url.query]
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM_TYPE:
        encoded.append((await request.body()).decode("utf-8", "replace"))
    return {name: value for text in encoded for name, value in parse_qsl(text, keep_blank_values=True)}


async def _until_gone(request: Request, timeout_seconds: float | None = None) -> None:
    """Wait until the caller has hung up, or the time is over."""
    try:
        async with asyncio.timeout(timeout_seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


def _packed(request: Request, rendered: Rendered, status: int) -> Response:
    """The response, compressed if the caller can read that. The type is set as is: no charset is added to it."""
    headers = {"content-type": rendered.content_type, "vary": "Accept-Encoding"}
    body = rendered.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body, compresslevel=1)
    return Response(body, status, headers)


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Readable JSON; a lone surrogate, which UTF-8 cannot carry, goes out as the escape it came in as."""
    return Response(json_text(value), status, headers, media_type="application/json")
