"""A request's way to its page and back, for whatever page it is.

    who ─> thread ─> snapshot of the database ─> page (asks reports) ─> template

A page runs in one of a few threads, in one read-only transaction with a time-out. It never writes. Pages that are open
and ask again by themselves share one more thread, and what was read for them (see ``relay.dashboard.refreshing``). Acts
have two of their own: they may wait for rows that somebody holds locked, and pages do not wait with them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relay.assembly.dashboard import ACTING_THREADS, THREADS, Reading
from relay.background import Executor
from relay.dashboard.access import Access, NotAdmitted
from relay.dashboard.acting import ACTOR_COOKIE, Action, Actors, prepared, remembered, verbs
from relay.dashboard.documents import PREFIX, document, is_wanted
from relay.dashboard.entrance import UNDONE
from relay.dashboard.filters import FILTERS
from relay.dashboard.guards import SAFE
from relay.dashboard.pages.overview import OF_NOW, overview
from relay.dashboard.recent import Recent
from relay.dashboard.refreshing import HEADER, Answers, Left, page_name
from relay.dashboard.rendering import rendered, templates
from relay.dashboard.trouble import page_of, trouble
from relay.dashboard.viewer import LANGUAGE_COOKIE, LANGUAGES, ZONE_COOKIE, known_zone, viewer
from relay.dashboard.visit import (
    PREFERENCES,
    Elsewhere,
    NotAllowed,
    NotFound,
    NotUnderstood,
    Page,
    PageVisit,
    require_preferences,
)
from relay.errors import RelayError
from relay.reports import now

PageOf = Callable[[PageVisit], Page | Elsewhere]
Refresh = float | None  # the moment of ``time.monotonic`` at which a page that is open asked again by itself
READY_SECONDS = 1.0  # at most, before requests are taken
_A_YEAR = 365 * 86_400


def _unconnected() -> Any:
    raise RuntimeError("this page asks no report")


class Site:
    """What all requests share: who may look, the database, the templates, and what was read a moment ago."""

    def __init__(self, access: Access, actors: Actors, reading: Reading, zone: str, trace_url: str | None) -> None:
        self.access = access
        self.actors = actors
        self._reading = reading
        self._zone = zone
        self._trace_url = trace_url
        self._templates = templates()
        self._recent = Recent()
        self._left = Left()
        self._threads = Executor(THREADS - 1, name="dashboard")
        self._refreshing = Executor(1, name="refreshing")
        self._acting = Executor(ACTING_THREADS, name="acting")

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Where a server tells of its beginning, nobody's first page is slow; of its end, connections end with it."""
        ready = None
        with suppress(RuntimeError):  # the threads have ended: a server that begins a second time
            ready = self._refreshing.submit(self._get_ready)
            await asyncio.wait([asyncio.wrap_future(ready)], timeout=READY_SECONDS)
        yield
        for executor in (self._threads, self._refreshing, self._acting):
            executor.shutdown(cancel_futures=True)
        if ready is None:
            self._reading.close()
        else:  # a connection that is given back after the end belongs to nobody, so what still gets ready is waited for
            ready.add_done_callback(lambda _: self._reading.close())

    def _get_ready(self) -> None:
        """Show page one to nobody, so that connections, statements and templates are made. PostgreSQL may be away."""
        at = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "root_path": ""}
        self._answered(Request(at), overview, None)
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def endpoint(self, page: PageOf, names: Sequence[str] | None = None) -> Callable[[Request], Any]:
        """The page for whoever may see it, worked out in a thread. ``names`` None: it is asked under any."""

        def known(visit: PageVisit) -> Page | Elsewhere:
            if names is not None:
                visit.require_known(names)
            return page(visit)

        async def answer(request: Request) -> Response:
            who = self.access.who(request)
            if isinstance(who, NotAdmitted):
                return await self._refused(request, who)
            if HEADER not in request.headers or is_wanted(_path(request)):
                return await self._in_thread(lambda: self._answered(request, known, who, names=names))
            arrived = time.monotonic()
            return await self._in_thread(
                lambda: self._answered(request, known, who, arrived, names=names), self._refreshing
            )

        return answer

    def acting(self, action: Action) -> Callable[[Request], Any]:
        """The preview of an act for whoever may act, and what its form does."""

        async def answer(request: Request) -> Response:
            who = self.access.who(request)
            if isinstance(who, NotAdmitted):
                return await self._refused(request, who)
            page = await prepared(action, request, self.actors, self._reading)
            threads = self._threads if request.method in SAFE else self._acting
            return await self._in_thread(lambda: self._answered(request, page, who, names=action.names), threads)

        return answer

    async def preferences(self, request: Request) -> Response:
        """A language or a zone, kept in a cookie; then back to the page."""
        try:
            require_preferences(request.query_params)
        except NotUnderstood as error:
            page = trouble(error.key, error.values, error.status)
            return await self._in_thread(lambda: self._html(self._look(request, None), page))
        root = str(request.scope.get("root_path", ""))
        back = request.query_params.get("back", "")
        inside = back.startswith("/") and not back.startswith("//") and back.isprintable() and "\\" not in back
        answer = RedirectResponse(root + (back if inside else "/"), 303)
        language, zone = request.query_params.get("lang", ""), request.query_params.get("zone", "")
        for name, value in ((LANGUAGE_COOKIE, language), (ZONE_COOKIE, zone)):
            if value:
                answer.set_cookie(name, value, max_age=_A_YEAR, path=root + "/", httponly=True, samesite="lax")
        return answer

    async def no_such_page(self, request: Request, _: Exception) -> Response:
        """For whoever may look; others are refused as everywhere. A slash too many or too few leads to the page."""
        root = str(request.scope.get("root_path", ""))
        if request.url.path == root:
            return RedirectResponse(f"{root}/" + (f"?{request.url.query}" if request.url.query else ""), 303)
        answer: Response = await self.endpoint(_nowhere)(request)
        return answer

    async def login_page(
        self, request: Request, wrong: str | None, status: int, values: Mapping[str, object], target: str
    ) -> Response:
        """The form, and what went wrong before. ``target``: where somebody was going, also in another language."""
        query = ({"next": target} if target else {}) | ({"undone": "1"} if wrong == UNDONE else {})
        here = "/login" + (f"?{urlencode(query)}" if query else "")
        page = Page("login.html", {"next": target, "here": here, "wrong": wrong, "given": values}, status=status)
        return await self._in_thread(lambda: self._html(self._look(request, None), page))

    async def not_understood(self, request: Request, error: NotUnderstood) -> Response:
        """What a form was refused for, to whoever sent it."""
        page = trouble(error.key, error.values, error.status)
        return await self._in_thread(lambda: self._html(self._look(request, None), page))

    async def _refused(self, request: Request, refusal: NotAdmitted) -> Response:
        visit = self._look(request, None)
        if refusal.log_in and not is_wanted(visit.path):
            path, query = request.url.path, request.url.query
            back = {"next": path + (f"?{query}" if query else "")}
            if visit.posted:  # what was typed is gone, and so it says that nothing came of it
                back = {"next": visit.root + "/", "undone": "1"}
            return RedirectResponse(f"{visit.root}/login?{urlencode(back)}", 303)
        page = trouble(refusal.key, {}, 401 if refusal.log_in else 403)
        return await self._in_thread(lambda: self._html(visit, page))

    async def _in_thread(self, work: Callable[[], Response], threads: Executor | None = None) -> Response:
        answer: Response = await asyncio.get_running_loop().run_in_executor(threads or self._threads, work)
        return answer

    def _answered(
        self, request: Request, page: PageOf, who: str | None, refresh: Refresh = None,
        *, names: Sequence[str] | None = None,
    ) -> Response:  # fmt: skip
        visit = self._look(request, who)
        name = page_name(visit.path, [pair for pair in visit.asked.multi_items() if pair[0] not in PREFERENCES])
        try:
            left = None if refresh is None else self._left.find(name, refresh)
            visit = replace(visit, answers=left or Answers(), refreshes=refresh is not None)
            found, shown = self._found(visit, page, None if left else name)
            if visit.posted:
                self._recent.forget(OF_NOW)  # who did something sees it on page one, and on pages that are open
                self._left.forget()
            if isinstance(found, Elsewhere):
                at = PREFIX if is_wanted(visit.path) else ""
                return RedirectResponse(visit.link(at + found.path, found.query), 303)
            return self._html(visit, found, shown)
        except (NotFound, NotUnderstood, NotAllowed, RelayError) as error:
            if isinstance(error, RelayError):
                self._left.failed(name, error)
            slow = self._reading.took_too_long(error)
            page_of_trouble = page_of(
                error, slow=slow, narrows=set(FILTERS) <= set(names or ()), posted=request.method not in SAFE,
                refreshes=refresh is not None,
            )  # fmt: skip
            return self._html(self._look(request, who), page_of_trouble)

    def _found(self, visit: PageVisit, page: PageOf, name: Hashable | None) -> tuple[Page | Elsewhere, frozenset[str]]:
        """What to show, and what this person may do there. ``name``: what was read is left to refreshes of it."""
        with ExitStack() as stack:
            visit = replace(visit, connected=cache(lambda: stack.enter_context(self._reading.snapshot())))
            found = page(visit)
            if is_wanted(visit.path):
                return found, frozenset()
            shown = verbs(visit, self.actors)
            if name is not None and isinstance(found, Page) and found.every:
                visit.answers.at = found.at or visit.ask(now)
                self._left.leave(name, visit.answers, found.every)
        return found, shown

    def _html(self, visit: PageVisit, page: Page, shown: frozenset[str] | None = None) -> Response:
        if is_wanted(visit.path):
            answer = Response(document(page), page.status, media_type="application/json")
        else:
            answer = HTMLResponse(rendered(self._templates, visit, page, shown), page.status)
            answer.headers["vary"] = "Cookie, Accept-Language"
            answer.headers["content-language"] = visit.viewer.language
        if page.status == 503:
            answer.headers["retry-after"] = "5"
        if page.remember:
            answer.set_cookie(
                ACTOR_COOKIE, quote(page.remember), max_age=_A_YEAR, path=visit.root + "/", httponly=True,
                samesite="strict",
            )  # fmt: skip
        return answer

    def _look(self, request: Request, who: str | None) -> PageVisit:
        root = str(request.scope.get("root_path", ""))
        cookies = dict(request.cookies)
        language, zone = (request.query_params.get(name, "") for name in PREFERENCES)
        cookies |= {LANGUAGE_COOKIE: language} if language in LANGUAGES else {}
        cookies |= {ZONE_COOKIE: zone} if known_zone(zone) else {}
        return PageVisit(
            path=_path(request),
            asked=request.query_params,
            part=str(request.path_params.get("part", "")),
            viewer=viewer(cookies, request.headers.get("accept-language", ""), self._zone, who),
            schema=self._reading.schema,
            root=root,
            recent=self._recent,
            explainers=self._reading.explainers,
            connected=_unconnected,
            can_log_out=self.access.people is not None,
            trace_url=self._trace_url,
            actor=remembered(cookies),
            posted=request.method not in SAFE,
            acts=self.actors.allowed and (who is None or self.actors.may(who)),
        )


def _path(request: Request) -> str:
    """Inside the dashboard, wherever it is mounted; as it was routed, whatever the request says in ``Host``."""
    return str(request.scope["path"]).removeprefix(str(request.scope.get("root_path", ""))) or "/"


def _nowhere(visit: PageVisit) -> Elsewhere:
    wanted = visit.path.removeprefix(PREFIX) if is_wanted(visit.path) else visit.path
    if wanted != (plain := "/" + wanted.strip("/")):
        return Elsewhere(plain, visit.asked)
    raise NotFound("not_found.page", path=visit.path[:80])
