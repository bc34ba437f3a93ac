"""What holds for every answer and every request, whatever page it is for.

Answers bear a policy by which a browser runs no script but the file of ours, asks and loads nothing from elsewhere and
shows them in no frame, and nothing with data is kept. Requests are short; one that is no GET comes from a page of ours,
and of another site only a link leads here: browsers say so in ``Sec-Fetch-Site``, older ones in ``Origin``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.dashboard.documents import document, is_wanted
from relay.dashboard.languages import told
from relay.dashboard.trouble import trouble
from relay.dashboard.viewer import LANGUAGE_COOKIE, LANGUAGES, preferred

POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
LONGEST_QUERY, LONGEST_PATH = 8_192, 2_048
SAFE, ALLOWED = ("GET", "HEAD"), ("GET", "HEAD", "POST")


class Guarded:
    """The application behind the guards."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("only pages are served here")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = refusal(scope)
        await (refused or self._app)(scope, receive, guarded)


def refusal(scope: Any) -> Response | None:
    """The answer to a request that no page has to see."""
    headers = Headers(scope=scope)
    if scope["method"] not in ALLOWED:
        return refused(scope, "refused.method", 405, {"allow": ", ".join(ALLOWED)})
    if len(scope.get("query_string", b"")) > LONGEST_QUERY or len(scope["path"]) > LONGEST_PATH:
        return refused(scope, "refused.long", 414)
    if not _is_utf8(scope.get("query_string", b"")) or not _is_utf8(scope.get("raw_path") or b""):
        return refused(scope, "refused.utf8", 400)
    if _is_embedded(headers) or (scope["method"] not in SAFE and not _from_here(headers)):
        return refused(scope, "refused.site", 403)
    return None


def refused(
    scope: Any, key: str, status: int, headers: Mapping[str, str] | None = None, /, **values: object
) -> Response:
    """A sentence and no page, in the language of whoever sent this; for a program a document."""
    if is_wanted(str(scope["path"]).removeprefix(str(scope.get("root_path", "")))):
        return Response(document(trouble(key, values, status)), status, headers, "application/json")
    language = language_of(Request(scope))
    answer = PlainTextResponse(told(language, key, **values) + "\n", status, headers)
    answer.headers["content-language"] = language
    answer.headers["vary"] = "Cookie, Accept-Language"
    return answer


def language_of(request: Request) -> str:
    """What whoever sends this reads: as a link, a cookie or the browser says."""
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else preferred(request.headers.get("accept-language", ""))


def _is_utf8(written: bytes) -> bool:
    """Whether all of it can be read: else what is asked for would be something else than was written."""
    try:
        unquote_to_bytes(written).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_embedded(headers: Headers) -> bool:
    """Whether a page of another site loads this as a part of itself: a picture, a script, a frame.

    No browser would give it the answer, but the database would be read as often as that page likes.
    """
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    return headers.get("sec-fetch-mode") != "navigate" or headers.get("sec-fetch-dest", "document") != "document"


def _from_here(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    try:
        named = urlsplit(origin or "").netloc
    except ValueError:
        return False
    return named != "" and named == headers.get("host", "")
