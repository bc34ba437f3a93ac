"""``/login`` and ``/logout``: a name and a password, bounded in size and in tries, for a session."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.background import in_thread
from relay.dashboard.access import Access, home
from relay.dashboard.forms import sent
from relay.dashboard.people import LONGEST_NAME
from relay.dashboard.sessions import SESSION_SECONDS
from relay.dashboard.visit import NotUnderstood

_MOST_BYTES = 8_192
MOST_JUDGED, MOST_JUDGED_OF_ONE, _BUSY_SECONDS = 16, 2, 2.0  # two at a time take a tenth of a second each


class Entrance:
    """The two endpoints. ``shown`` renders the page: with a key of what went wrong, a status, its values, and where
    it leads to.
    """

    def __init__(self, access: Access, shown: Any) -> None:
        self._access = access
        self._shown = shown
        self._judged: Counter[str] = Counter()  # passwords that are looked at now, or wait for it

    async def login(self, request: Request) -> Response:
        """The page, or what its form sent."""
        if self._access.people is None:
            return RedirectResponse(home(request), 303)
        if request.method != "POST":
            return await self._page(request, None)
        try:
            given = await sent(request, most_bytes=_MOST_BYTES)
        except NotUnderstood:
            return await self._page(request, "login.wrong", status=400)
        name, password = given.get("name", ""), given.get("password", "")
        origin, people = self._access.origin(request), self._access.people
        if self._judged.total() >= MOST_JUDGED or self._judged[origin] >= MOST_JUDGED_OF_ONE:
            return await self._wait(request, _BUSY_SECONDS)
        if wait := self._access.tries.take(origin, name[:LONGEST_NAME]):
            return await self._wait(request, wait)
        by = people.digest(name) or b""  # before it is judged: a file that changes meanwhile ends the session at once
        if not await self._judge(origin, lambda: people.is_right(name, password)):
            return await self._page(request, "login.wrong", status=401)
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
        answer = await self._page(request, "login.wait", status=429, minutes=math.ceil(seconds / 60))
        answer.headers["retry-after"] = str(math.ceil(seconds))
        return answer

    async def logout(self, request: Request) -> Response:
        """By POST alone, so that nobody else's picture logs anybody out."""
        self._access.sessions.end(self._access.token(request))
        answer = RedirectResponse(home(request), 303)
        answer.delete_cookie(
            self._access.session_cookie(request), path=home(request), secure=self._access.over_tls(request),
            httponly=True, samesite="strict",
        )  # fmt: skip
        return answer

    async def _page(self, request: Request, wrong: str | None, *, status: int = 200, **values: object) -> Response:
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
