"""A worker that runs to its end against the scripted platform: production's own, with delays too short to wait for.

It has an event loop and threads of its own, so it is called in the same way from sync and async tests; the test stands
still meanwhile. Nothing of the environment and no ``relay.toml`` is read: a test must not depend on whose machine it is
on, and never reach the real platform.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from relay import background
from relay.accounts import Accounts, Found
from relay.assembly.accounts import open_accounts
from relay.assembly.worker import Means, assembled, own_engine
from relay.credential import Credential
from relay.errors import RelayError
from relay.observers.records import LOGGER, LogRecords
from relay.sandbox.credentials import CREDENTIAL_OPTIONS, reaching
from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION
from relay.sandbox.server import running_sandbox
from relay.settings import Settings, load
from relay.sql import SCHEMA
from relay.testing.keeping import Kept
from relay.testing.platform import COMMITTED_ONLY, ScriptedPlatform
from relay.worker import Report, Until

_SHORT: dict[str, Any] = {
    "metrics_port": 0,
    "wakeup": "poll",
    "poll_interval_ms": 2,
    "retry_base_seconds": 0.001,
    "retry_max_seconds": 0.002,
    "max_attempts": 3,
    "outage_hours": 0,  # whole calls that come to nothing count as attempts: a platform that is down fails a message
    "lease_seconds": 4,
    "shutdown_grace_seconds": 1,
}

# With one of these it is the accounts of the options that count.
_OF_ACCOUNTS = {"accounts_query", "accounts_dir", "accounts_database_url", *CREDENTIAL_OPTIONS}


class _Idle(Report):
    """A report of nothing, which a failing assertion shows with the likely reason."""

    def __repr__(self) -> str:
        plain = repr(Report(*_values(self)))
        return f"{plain}, for there was nothing to send: {COMMITTED_ONLY}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]  # as of any report: it counts


class Drain:
    """``drain()`` sends what is committed and due, and gives the report back: ``report.done``, ``report.failed``."""

    def __init__(
        self, database_url: str, platform: ScriptedPlatform, *, schema: str = SCHEMA, kept: Kept | None = None
    ) -> None:
        self._where = {"database_url": database_url, "schema": schema}
        self._platform = platform
        self._engine = kept.lent if kept else own_engine

    def __call__(self, *, within_seconds: float = 20, **options: Any) -> Report:
        """Options are those of ``relay.toml``: ``max_attempts=1``, ``on_unknown="hold"``.

        Raises RelayError where there is something left to send after that time.
        """
        executor = background.Executor(1, name="drain")
        future = executor.submit(lambda: background.run(self._drained(within_seconds, options)))
        executor.shutdown()
        report = future.result()
        return report if report.calls or report.left else _Idle(*_values(report))

    async def _drained(self, within_seconds: float, options: dict[str, Any]) -> Report:
        nothing_given = Settings.model_construct(config=Path("no relay.toml is read"))
        accounts = open_accounts if _OF_ACCOUNTS & options.keys() else _everybody
        elsewhere = self._where.keys() & options.keys()
        means = Means(accounts, own_engine if elsewhere else self._engine, _untold)
        async with running_sandbox(self._platform.sandbox) as playing:
            there = reaching(playing.router_url, timeout_seconds=2)
            settings = load(nothing_given, **{**_SHORT, **there, **self._where, **options})
            try:
                async with asyncio.timeout(within_seconds):
                    return await _drained(settings, means)
            except TimeoutError:
                raise RelayError(
                    f"There is still something to send after {within_seconds:g} s.",
                    "A message may be due later, or a fault never end; within_seconds= gives it longer.",
                ) from None


async def _drained(settings: Settings, means: Means) -> Report:
    """As ``relay.drain``, by means of our own."""
    async with assembled(settings, observer=LogRecords, warn=LOGGER.warning, means=means) as worker:
        return await worker.run(Until.DRAINED)


def _values(report: Report) -> list[Any]:
    return [getattr(report, field.name) for field in fields(Report)]


def _untold(*_: object) -> None:
    """No row in the ledger: it would have to be removed."""


class _Everybody:
    """A source that knows every account, with the credential of the sandbox."""

    name = "relay.testing"

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        return dict.fromkeys(accounts, Credential(APP_KEY, APP_SECRET, SESSION))


@contextmanager
def _everybody(settings: Settings, now: Callable[[], float]) -> Iterator[Accounts]:
    """In the place of the accounts of the settings."""
    yield Accounts([_Everybody()])
