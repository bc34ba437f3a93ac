"""The dashboard as an ASGI application: which path is which page, which is an act, and what stands in front of them.

    guards ─> path ─> a request's way (``relay.dashboard.site``)

What people do on the pages is a second table: its paths are there only where the settings allow it (see
``relay.dashboard.acting``), and its rights are those of the login.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from relay.assembly.dashboard import open_reading
from relay.dashboard.access import NameOf, access
from relay.dashboard.acting import Action, actors
from relay.dashboard.actions import choosing, pausing, revealing
from relay.dashboard.actions.messages import discard, look_at_discard, look_at_retry, retry
from relay.dashboard.documents import PREFIX
from relay.dashboard.entrance import Entrance
from relay.dashboard.filters import FILTERS
from relay.dashboard.guards import Guarded, refused
from relay.dashboard.pages.call import call
from relay.dashboard.pages.calls import calls
from relay.dashboard.pages.codes import code
from relay.dashboard.pages.days import days
from relay.dashboard.pages.duplicates import duplicates
from relay.dashboard.pages.failures import failures
from relay.dashboard.pages.keys import keys
from relay.dashboard.pages.message import message
from relay.dashboard.pages.messages import messages
from relay.dashboard.pages.overview import overview
from relay.dashboard.pages.past import ledger, pauses
from relay.dashboard.site import PageOf, Site
from relay.settings import FOR_DASHBOARD, Settings, load, load_for

TURNING = ("older", "newer")
# The page of a path, and the names it may be asked under.
PAGES: dict[str, tuple[PageOf, tuple[str, ...]]] = {
    "/": (overview, ("span",)),
    "/messages": (messages, (*FILTERS, "id", "request", "dedupe", *TURNING)),
    "/messages/{part}": (message, ()),
    "/calls": (calls, ("state", "request", *TURNING)),
    "/calls/{part}": (call, ()),
    "/failures": (failures, ()),
    "/duplicates": (duplicates, TURNING),
    "/keys": (keys, TURNING),
    "/pauses": (pauses, ("kind", *TURNING)),
    "/ledger": (ledger, TURNING),
    "/days": (days, ()),
    "/codes/{part:path}": (code, ()),
}
# What people may do, each by a preview and the form in it.
ACTIONS = {
    "/act/retry": Action("retry", choosing.NAMES, look_at_retry, retry, choosing.SEVERAL),
    "/act/discard": Action("discard", choosing.NAMES, look_at_discard, discard, choosing.SEVERAL),
    "/act/pause": Action("pause", pausing.NAMES, pausing.look_at_pause, pausing.pause),
    "/act/resume": Action("resume", pausing.NAMES, pausing.look_at_resume, pausing.resume),
    "/act/reveal": Action("reveal", revealing.NAMES, revealing.look_at_reveal, revealing.reveal),
}
_FILES = StaticFiles(packages=[("relay.dashboard", "static")])


def create_app(settings: Settings | None = None, *, user: NameOf | None = None, **overrides: Any) -> Starlette:
    """The dashboard, to be served or mounted under any prefix. It connects when it is served, or a page is asked for.

    Without ``settings`` they come from where the command takes them, and no secret is read but those of the database;
    overrides are options by their names in the file. ``user`` gives the name of whoever sends a request, of the
    application around it, or None: then the request is refused. Without it, and without people in the settings, only
    requests from this machine are answered.
    Raises ConfigurationError.
    """
    chosen = load(settings, **overrides) if settings else load_for(FOR_DASHBOARD, **overrides)
    admitted = access(chosen, user)
    site = Site(admitted, actors(chosen, admitted), open_reading(chosen), chosen.dashboard_zone, chosen.trace_url)
    entrance = Entrance(site.access, site.login_page, site.not_understood)
    routes = [Route(at + path, site.endpoint(*page)) for at in ("", PREFIX) for path, page in PAGES.items()]
    if site.actors.allowed:
        routes += [Route(path, site.acting(one), methods=["GET", "POST"]) for path, one in ACTIONS.items()]
    app = Starlette(
        routes=[
            *routes,
            Route("/login", entrance.login, methods=["GET", "POST"]),
            Route("/logout", entrance.logout, methods=["POST"]),
            Route("/preferences", site.preferences),
            Route("/static/{name}", _static),
        ],
        middleware=[Middleware(Guarded)],
        exception_handlers={404: site.no_such_page, 405: _wrong_method, Exception: _unexpected},
        lifespan=site.lifespan,
    )
    app.router.redirect_slashes = False  # it would name a host and a scheme, which a proxy in front may have changed
    return app


async def _static(request: Request) -> Response:
    """As a route, not a mount: what is not there is answered as any other page that is not there."""
    return await _FILES.get_response(request.path_params["name"], request.scope)


def _wrong_method(request: Request, error: Exception) -> Response:
    """Of a page that is asked by POST; what there is besides is refused before."""
    return refused(request.scope, "refused.method", 405, getattr(error, "headers", None))


def _unexpected(request: Request, error: Exception) -> Response:
    """No traceback, and nothing that may quote a row: the type alone, in the answer and in the log of the server."""
    return refused(request.scope, "refused.unexpected", 500, error=type(error).__name__)
