"""The dashboard in a Flask application, under a prefix, for whoever has logged in there.

    pip install 'outbox-relay[dashboard]' a2wsgi
    export SECRET_KEY=... WORD_OF_ANN=... RELAY_DASHBOARD_DATABASE_URL=postgresql://...
    flask --app examples.flask_dashboard run

docs/frameworks.md says more.
"""

import os
from functools import cache
from secrets import compare_digest
from typing import Any

from a2wsgi import ASGIMiddleware
from flask import Flask, redirect, request, session
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from relay.dashboard import create_app

PREFIX = "/ops/relay"
app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]


@app.route("/login", methods=["GET", "POST"])
def login() -> Response | str:
    """Yours: passwords, single sign-on. This one knows Ann by a word."""
    if compare_digest(request.form.get("word", ""), os.environ["WORD_OF_ANN"]):
        session["name"] = "ann"
        return redirect(f"{PREFIX}/")
    return "<form method=post><input name=word type=password><button>Log in</button></form>"


@cache
def pages() -> Any:
    """Made by the first request: it has a thread, which a server that loads the application and forks would lose."""
    made: Any = create_app(user=lambda request: request.scope["wsgi_environ"]["relay.user"])
    return ASGIMiddleware(made)


def dashboard(environ: Any, start_response: Any) -> Any:
    """Who looks is found out here, in a thread of the server; no header comes into the environ by this name."""
    with app.request_context(environ):
        name = session.get("name")
    if name is None:
        return redirect("/login")(environ, start_response)
    return pages()({**environ, "relay.user": name}, start_response)


app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {PREFIX: dashboard})  # type: ignore[method-assign]
