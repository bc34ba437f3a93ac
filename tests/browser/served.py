"""Applications on sockets of this machine, served in a thread by the server of ``relay dashboard``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from relay.listeners import listener, url_of

NOWHERE = "postgresql://nobody@127.0.0.1:1/x"


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Where it is, without a slash at the end."""
    from relay.dashboard.serving import Server, configured

    listening, ready = listener("127.0.0.1", 0), threading.Event()
    server = Server(configured(app), ready.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    try:
        assert ready.wait(20), "the application did not start"
        yield url_of(listening)
    finally:
        server.stop()
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "the application did not end"


@contextmanager
def dashboard(database_url: str = NOWHERE, **options: Any) -> Iterator[str]:
    """Where the dashboard of these settings is."""
    from relay.dashboard import create_app
    from relay.settings import load

    with served(create_app(load(database_url=database_url, schema="relay", **options))) as url:
        yield url
