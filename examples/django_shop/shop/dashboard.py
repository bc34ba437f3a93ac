"""The relay's dashboard beside the site, for whoever may see the relay's messages in the admin."""

from functools import cache
from typing import Any

from a2wsgi import ASGIMiddleware
from django.contrib.auth import get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpResponse

from relay.dashboard import create_app
from relay.integrations.django import database_url

PREFIX = "/ops/relay"
LOGIN = f"/admin/login/?next={PREFIX}/"


@cache
def pages() -> Any:
    """Made by the first request: it has a thread, which a server that loads the application and forks would lose."""
    made: Any = create_app(
        database_url=database_url(), user=lambda request: request.scope["wsgi_environ"]["relay.user"]
    )
    return ASGIMiddleware(made)


def beside(site: Any) -> Any:
    """The site, and under the prefix the dashboard."""

    def application(environ: Any, start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path != PREFIX and not path.startswith(f"{PREFIX}/"):
            return site(environ, start_response)
        user = _user(environ)
        if user is None:
            start_response("303 See Other", [("Location", LOGIN), ("Content-Length", "0")])
            return []
        mounted = {"SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + PREFIX, "PATH_INFO": path.removeprefix(PREFIX)}
        return pages()({**environ, **mounted, "relay.user": user}, start_response)

    return application


def _user(environ: Any) -> str | None:
    """The name; empty where this user may not look, and None where nobody has logged in.

    Here and not in ``create_app(user=...)``, which is asked in an event loop, where Django refuses to read its tables.
    """
    request = WSGIRequest(environ)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    try:
        user = get_user(request)
        if not user.is_authenticated:
            return None
        return user.get_username() if user.has_perm("relay.view_auditmessage") else ""
    finally:
        close_old_connections()  # as at the end of every request of Django's own
