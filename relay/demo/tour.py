"""The dashboard over what the demo left: which page shows which part of the story, until Ctrl-C.

Two things happen for it alone. A rush while no worker runs is delivered in whole calls of fifty, and afterwards the
account is paused with orders waiting, so that page one has something to say and a person something to press. What is
linked is looked up in the tables: which call was cut off depends on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, text

from relay.demo.commands import finished, started
from relay.demo.shop import STEPS, Shop
from relay.demo.telling import counted, folded, indented, say, title
from relay.listeners import LOOPBACK, listener

RUSH = 55  # of these transactions five are rolled back, so that fifty orders are left
LEFT_OVER = 3
PORT = 9465
THROTTLED = "7"  # the code of the platform
_CALLS = "select id, outcome, error_code, cardinality(message_ids) as size from relay.call order by id"
_ANNOUNCED = re.compile(r"The dashboard is at (http://\S+)/ ")


@dataclass(frozen=True, slots=True)
class Stop:
    """A sentence, and the pages that show it."""

    sentence: str
    paths: list[str]


def require_pages() -> None:
    """Raises ModuleNotFoundError where the extra of the dashboard is not installed."""
    from relay.dashboard import create_app  # noqa: F401


def deliver_rush(shop: Shop, settings: dict[str, str], folder: Path, begun: int) -> int:
    """Sell while no worker runs, then let one deliver it all; how many transactions were begun by now."""
    title(f"A rush: {RUSH} transactions while no worker runs")
    for number in range(begun + 1, begun + RUSH + 1):
        shop.sell(number)
    finished(["run", "--drain"], {**settings, "RELAY_LOG_FORMAT": "console"}, folder)
    return begun + RUSH


def show_pages(shop: Shop, engine: Engine, settings: dict[str, str], folder: Path, begun: int) -> None:
    """Leave something to press, then serve the pages until Ctrl-C."""
    title("The same in pages")
    with ExitStack() as stack:
        worker = stack.enter_context(started(["run"], settings, folder, "run-on"))
        refused = shop.wrong_messages
        finished(["pause", "--account", "default", "--reason", "stock-taking"], settings, folder)
        for number in range(begun + 1, begun + LEFT_OVER + 1):
            shop.sell(number)
        pages = stack.enter_context(started(["dashboard", "--allow-actions", "--port", str(_port())], settings, folder))
        url = pages.wait_for(lambda: _announced(pages.log), "to listen")
        with engine.connect() as connection:
            calls = connection.execute(text(_CALLS)).all()
        _tell(url, stops(calls, refused))
        pages.stay()
        for service in (pages, worker):
            service.stop()


def stops(calls: Sequence[Row[Any]], refused: int) -> Iterator[Stop]:
    """What there is to see, in the order of the story."""
    throttled = [f"/calls/{call.id}" for call in calls if call.outcome == "rejected" and call.error_code == THROTTLED]
    cut = [f"/calls/{call.id}" for call in calls if call.outcome == "unknown"]
    largest = max(calls, key=lambda call: (call.size, call.outcome == "partial"))
    yield Stop(
        f"{counted(refused, 'message')} had a status that the platform does not know. Each was refused at its index, "
        "and the rest of its call was delivered:",
        ["/failures"],
    )
    yield Stop(
        f"{counted(len(throttled), 'call')} came too fast for the platform. Nothing was sent until its ban was over, "
        "and no message paid an attempt for it:",
        [*throttled, "/pauses"],
    )
    yield Stop(
        f"{counted(len(cut), 'call')} got no answer, for the connection was cut. What was in there was sent again, so "
        "the platform may have it twice:",
        [*cut, "/duplicates"],
    )
    yield Stop(
        f"One call of the rush carried {counted(largest.size, 'message')}. What came back for each position:",
        [f"/calls/{largest.id}"],
    )
    waiting = counted(LEFT_OVER * len(STEPS), "message")
    yield Stop(
        f"Something is left for you: the account is paused, and {waiting} wait for it. Page one says what to press, "
        "and asks who you are and why. The refused ones can be discarded:",
        ["/"],
    )


def _tell(url: str, told: Iterable[Stop]) -> None:
    for stop in told:
        say("\n" + indented(folded(stop.sentence)))
        say("\n".join(f"    {url}{path}" for path in stop.paths))
    say(f"\nThe dashboard stays until Ctrl-C, at\n{url}/")


def _announced(log: Path) -> str | None:
    found = _ANNOUNCED.search(log.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None


def _port() -> int:
    """That of the documents where nobody has it, else any."""
    try:
        with listener(LOOPBACK, PORT):
            return PORT
    except OSError:
        return 0
