"""``/login`` and ``/logout``: a name and a password, bounded in size and in tries, for a session."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.background import in_thread
from relay.dashboard.access import Access, home
from relay.dashboard.forms import is_missing, require_fields, sent
from relay.dashboard.people import LONGEST_NAME
from relay.dashboard.sessions import SESSION_SECONDS
from relay.dashboard.visit import NotUnderstood

_FIELDS = ("name", "password", "next")
_MOST_BYTES = 32 * 1024  # the longest of each, every byte of it written as three
UNDONE = "login.undone"
NO_VALUES: Mapping[str, object] = MappingProxyType({})
MOST_JUDGED, MOST_JUDGED_OF_ONE, _BUSY_SECONDS = 16, 2, 2.0  # two at a time take a tenth of a second each


class Entrance:
    """The two endpoints. ``shown`` renders the page: with a key of what went wrong, a status, its values, and where
    it leads to. ``refused`` renders one without a form, for what was not understood.
    """

    def __init__(self, access: Access, shown: Any, refused: Callable[[Request, NotUnderstood], Any]) -> None:
        self._access = access
        self._shown = shown
        self._refused = refused
        self._judged: Counter[str] = Counter()  # passwords that are looked at now, or wait for it

    async def login(self, request: Request) -> Response:
        """The page, or what its form sent."""
        if self._access.people is None:
            return RedirectResponse(home(request), 303)
        if request.method != "POST":
            return await self._page(request, UNDONE if "undone" in request.query_params else None)
        try:
            given = await sent(request, most_bytes=_MOST_BYTES)
            require_fields(given, _FIELDS)
        except NotUnderstood as error:
            return await self._page(request, error.key, error.status, error.values)
        name, password = given.get("name", ""), given.get("password", "")
        origin, people = self._access.origin(request), self._access.people
        if self._judged.total() >= MOST_JUDGED or self._judged[origin] >= MOST_JUDGED_OF_ONE:
            return await self._wait(request, _BUSY_SECONDS)
        if wait := self._access.tries.take(origin, name[:LONGEST_NAME]):
            return await self._wait(request, wait)
        by = people.digest(name) or b""  # before it is judged: a file that changes meanwhile ends the session at once
        if not await self._judge(origin, lambda: people.is_right(name, password)):
            return await self._page(request, "login.wrong", 401)
        self._access.tries.forget(origin, name[:LONGEST_NAME])
        self._access.sessions.end(self._access.token(request))
        answer = RedirectResponse(_inside(request, given.get("next", "")), 303)
        answer.set_cookie(
            self._access.session_cookie(request), self._access.sessions.begin(name, by), max_age=int(SESSION_SECONDS),
            path=home(request), secure=self._access.over_tls(request), httponly=True, samesite="strict",
        )  # fmt: skip
        return answer

    async def _judge(self, origin: str, is_right: Callable[[], bool]) -> bool:
        """Some wait for their turn, of one address only two: the others come before the rest of its guesses."""
        self._judged[origin] += 1
        try:
            return await in_thread(is_right)
        finally:
            self._judged[origin] -= 1
            if not self._judged[origin]:
                del self._judged[origin]

    async def _wait(self, request: Request, seconds: float) -> Response:
        answer = await self._page(request, "login.wait", 429, {"minutes": math.ceil(seconds / 60)})
        answer.headers["retry-after"] = str(math.ceil(seconds))
        return answer

    async def logout(self, request: Request) -> Response:
        """By POST alone, so that nobody else's picture logs anybody out."""
        try:
            if not is_missing(request):
                require_fields(await sent(request, most_bytes=_MOST_BYTES), ())
        except NotUnderstood as error:
            refusal: Response = await self._refused(request, error)
            return refusal
        self._access.sessions.end(self._access.token(request))
        answer = RedirectResponse(home(request), 303)
        answer.delete_cookie(
            self._access.session_cookie(request), path=home(request), secure=self._access.over_tls(request),
            httponly=True, samesite="strict",
        )  # fmt: skip
        return answer

    async def _page(
        self, request: Request, wrong: str | None, status: int = 200, values: Mapping[str, object] = NO_VALUES
    ) -> Response:
        target = _inside(request, request.query_params.get("next", ""))
        answer: Response = await self._shown(request, wrong, status, values, "" if target == home(request) else target)
        return answer


def _inside(request: Request, wanted: str) -> str:
    """A path of the dashboard, and nothing else: no other site, no line end."""
    inside = home(request)
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return inside
    plain = wanted.isprintable() and "\\" not in wanted and not wanted.startswith("//")
    return wanted if plain and not parts.scheme and not parts.netloc and wanted.startswith(inside) else inside
