"""The dashboard in a FastAPI application, under a prefix, for whoever has logged in there.

    pip install 'outbox-relay[dashboard]' fastapi itsdangerous
    export SECRET_KEY=... WORD_OF_ANN=... RELAY_DASHBOARD_DATABASE_URL=postgresql://...
    uvicorn examples.fastapi_dashboard:app

docs/frameworks.md says more.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from secrets import compare_digest

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware

from relay.dashboard import create_app

PREFIX = "/ops/relay"
pages = create_app(user=lambda request: request.session.get("name"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Servers start and end the outermost application alone: with this the connections of the pages end with it."""
    async with pages.router.lifespan_context(pages):
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key=os.environ["SECRET_KEY"])
app.mount(PREFIX, pages)


class Word(BaseModel):
    word: str


@app.post("/login", status_code=204)
async def login(request: Request, given: Word) -> None:
    """Yours: passwords, single sign-on. This one knows Ann by a word."""
    if not compare_digest(given.word, os.environ["WORD_OF_ANN"]):
        raise HTTPException(401)
    request.session["name"] = "ann"
