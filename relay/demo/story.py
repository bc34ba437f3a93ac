"""What happens in the demo, in its order: open everything, sell while the worker produces, close, compare the books."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from relay.demo.books import Books, count_by_status, held_by, read_books
from relay.demo.commands import PATIENCE_SECONDS, Service, finished, started
from relay.demo.queries import QUERIES
from relay.demo.reconciliation import BookCheck, reconcile
from relay.demo.shop import NO_SUCH_STATUS, Shop
from relay.demo.telling import counted, indented, progress, say, table, title
from relay.demo.tour import deliver_rush, require_pages, show_pages
from relay.embedded import EmbeddedPostgres
from relay.errors import RelayError

DATABASE = "demo"
TRANSACTIONS = 100
PACE_SECONDS = 0.03
REPORT_SECONDS = 0.5
# Calls are small enough that each of these is reached, however slow the machine.
RUN = ["run", "--batch-size", "10"]
FAULTS = [f"refuse={NO_SUCH_STATUS}", "throttle=1@#6", "cut-after@#12", "cut-before@#20"]
SETTINGS = {"RELAY_METRICS_PORT": "0", "RELAY_RETRY_BASE_SECONDS": "0.2", "RELAY_RETRY_MAX_SECONDS": "1"}


def run_demo(folder: Path = Path(".relay-demo"), *, psql: bool = False, dashboard: bool = False) -> None:
    """Run the demo in ``folder``, or with ``psql`` look into what the last one left there.

    With ``dashboard`` there is a rush more, and the pages stay until Ctrl-C. Raises RelayError when anything does not
    add up; whatever was started is ended then too.
    """
    folder = folder.resolve()
    if psql:
        return _look_inside(folder)
    if dashboard:
        require_pages()
    return _run(folder, dashboard=dashboard)


def _run(folder: Path, *, dashboard: bool) -> None:
    with ExitStack() as stack:
        title("PostgreSQL, a platform in trouble, a relay")
        server = stack.enter_context(EmbeddedPostgres(folder))
        if server.note:
            say(server.note)
        settings = {"RELAY_DATABASE_URL": _recreate_database(server), **SETTINGS}
        engine = create_engine(settings["RELAY_DATABASE_URL"])
        stack.callback(engine.dispose)
        say("\n".join(f"  export {name}={shlex.quote(value)}" for name, value in settings.items()))
        faults = [part for fault in FAULTS for part in ("--fault", fault)]
        platform = stack.enter_context(started(["sandbox", "--port", "0", *faults], settings, folder))
        finished(["migrate"], settings, folder)
        url, exports = platform.announced()
        say("\n".join(f"  export {name}={value}" for name, value in exports.items()))
        settings |= exports
        worker = stack.enter_context(started(RUN, settings, folder))

        shop = Shop(engine)
        _trade(shop, engine, url, [platform, worker])
        worker.stop()
        begun = deliver_rush(shop, settings, folder, TRANSACTIONS) if dashboard else TRANSACTIONS
        books = read_books(engine, url)
        if not dashboard:
            platform.stop()
            say("  The worker and the platform were sent SIGTERM: both ended with 0.")
        finished(["status"], settings, folder)
        checks = reconcile(shop, books, begun)
        _show_checks(checks, books)
        _show_queries(engine, books)
        _show_the_way(folder)
        _require(checks)
        if dashboard:
            show_pages(shop, engine, settings, folder, begun)
            platform.stop()
        else:
            say(f"See it in a browser: relay demo --dashboard{_folder_option(folder)}")


def _recreate_database(server: EmbeddedPostgres) -> str:
    """An empty database, whatever an earlier demo left; its URL."""
    admin = create_engine(server.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"drop database if exists {DATABASE} with (force)"))
        connection.execute(text(f"create database {DATABASE}"))
    return server.url(DATABASE)


def _trade(shop: Shop, engine: Engine, url: str, services: list[Service]) -> None:
    """Sell while the worker produces, then wait until nothing is pending."""
    title(f"A shop sells: {TRANSACTIONS} transactions, three messages each, every tenth rolled back")
    shop.open()
    next_report = time.monotonic()
    for number in range(1, TRANSACTIONS + 1):
        shop.sell(number)
        if time.monotonic() >= next_report:
            _report(shop, engine, url, services)
            next_report += REPORT_SECONDS
        time.sleep(PACE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _report(shop, engine, url, services):
        if time.monotonic() > deadline:
            raise RelayError(f"Messages are still pending after {PATIENCE_SECONDS} s.", f"See {services[-1].log}")
        time.sleep(REPORT_SECONDS)


def _report(shop: Shop, engine: Engine, url: str, services: list[Service]) -> int:
    """Tell how far things are; how many messages are pending."""
    for service in services:
        service.require_running()
    pending, done, failed = count_by_status(engine)
    progress(
        f"  sold {len(shop.sold):3}   rolled back {len(shop.rolled_back):2}   pending {pending:3}   "
        f"done {done:3}   failed {failed:2}   the platform has {len(held_by(url)):3}"
    )
    return pending


def _show_checks(checks: list[BookCheck], books: Books) -> None:
    title("Does it add up?")
    rows = ((check.what, check.sums, "ok" if check.holds else "WRONG") for check in checks)
    say(indented(table(("what", "in numbers", ""), rows)))
    unknown, twice = books.touched("unknown"), books.twice()
    say(f"\n  Sent again: {counted(books.touched('retry'), 'message')} after a refusal that passes,")
    say(f"  {unknown} after a call without an answer. Of these, {len(twice)} had arrived after all:")
    for calls, ids in books.explanations():
        say(f"    the platform has {counted(len(ids), 'message')} twice, because {_named(calls)} got no answer")


def _named(calls: tuple[int, ...]) -> str:
    return "call " + " or ".join(map(str, calls))


def _show_queries(engine: Engine, books: Books) -> None:
    title("The same in SQL")
    message = books.message_of_the_largest_call()
    with engine.connect() as connection:
        for query in QUERIES:
            found = connection.execute(text(query.sql), {"message": message} if ":message" in query.sql else {})
            say(f"\n-- {query.question.replace(':message', str(message))}")
            say(query.sql.replace(":message", str(message)) + ";\n")
            say(indented(table(list(found.keys()), found.all())))


def _show_the_way(folder: Path) -> None:
    title("Look for yourself")
    say(f"  relay demo --psql{_folder_option(folder)}")
    say(f"  What the processes said: {folder}/run.log, sandbox.log")


def _folder_option(folder: Path) -> str:
    return "" if folder == Path(".relay-demo").resolve() else f" --folder {shlex.quote(str(folder))}"


def _require(checks: list[BookCheck]) -> None:
    wrong = [check for check in checks if not check.holds]
    if wrong:
        raise RelayError("It does not add up: " + "; ".join(f"{check.what}: {check.sums}" for check in wrong))
    say("\nEverything adds up.")


def _look_inside(folder: Path) -> None:
    """The wheel's psql on the database of the last demo."""
    if not (folder / "lock").exists():
        raise RelayError(f"No demo has run in {folder}.", "Run: relay demo")
    with EmbeddedPostgres(folder) as server:
        conninfo = make_url(server.url(DATABASE)).set(drivername="postgresql").render_as_string(hide_password=False)
        say(r"Tables: \dt relay.*    end: \q")
        before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C belongs to psql
        try:
            code = subprocess.run([server.psql, conninfo], check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
    if code:
        raise RelayError(f"psql ended with {code}.", "Above is what it said.")
