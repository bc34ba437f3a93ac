"""FastAPI: what ``relay.integrations.starlette`` has, and the worker's trouble as a dependency of your own endpoints.

app = FastAPI(lifespan=worker_lifespan())
app.add_api_route("/readyz", ready)
"""

from __future__ import annotations

from typing import Annotated

from relay.integrations.starlette import ready, trouble, worker_lifespan

try:
    from fastapi import Depends
except ModuleNotFoundError as error:
    error.add_note("hint: relay.integrations.fastapi is for FastAPI: pip install fastapi 'outbox-relay[worker]'")
    raise

WorkerTrouble = Annotated[str, Depends(trouble)]
"""Why nothing is sent at the moment, or an empty text: for an endpoint that answers for other things as well."""

__all__ = ["WorkerTrouble", "ready", "trouble", "worker_lifespan"]
