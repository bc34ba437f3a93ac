"""Everything a doctor looks at, from the settings to the platform. Nothing is changed or published.

What is wrong is a finding like what is right: whatever ends one part becomes its last one, and the next part goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from sqlalchemy import Engine

from relay import background
from relay.accounts import DEFAULT, Accounts
from relay.assembly.accounts import MOST_LISTED, exposed, is_usable, left_untold, open_accounts, reading_accounts
from relay.assembly.database import open_engine
from relay.assembly.producers import call_timeout_seconds, probed, producer_for, producer_options
from relay.checks import NamedFinding, State, named, way
from relay.checks.examination import examine, host_offset_seconds
from relay.errors import ConfigurationError, RelayError
from relay.settings import Settings, load

# The next step where an error does not say one.
_HINTS = {
    "settings": "docs/accounts.md: who may read files with secrets.",
    "database": "Check RELAY_DATABASE_URL and that the server runs.",
    "accounts": "See docs/accounts.md: what a source must give.",
    "platform": "See docs/network.md: the way to the platform.",
}

Unexpected = Callable[[Exception], object]


def examined(account: str | None, *, ask_platform: bool, unexpected: Unexpected) -> Iterator[NamedFinding]:
    """The findings one after another, as they are made; ``settings`` and ``database`` fail where all else must.

    ``ask_platform``: by a call of this account without messages, where its producer can do that. Without an account
    that is ``default``, and one account for each other producer that accounts name. ``unexpected`` hears what no part
    foresaw, beside the finding that says so.
    """
    try:
        settings = load()
        producer_options(settings)
        engine = open_engine(settings)
    except ConfigurationError as error:
        for problem in str(error).splitlines():
            yield NamedFinding("settings", State.FAIL, problem, error.hint or "The README lists every setting.")
        return
    part = _Part(settings, account, unexpected)
    yield NamedFinding("settings", State.OK, f"producer {settings.producer}, schema {settings.schema_name}")
    yield from part.guarded("settings", part.files())
    try:
        yield from part.guarded("database", part.database(engine))
    finally:
        engine.dispose()
    yield from part.guarded("accounts", part.credentials(ask_platform))


class _Part:
    """The parts of one examination, which goes on with the next where one ends early."""

    def __init__(self, settings: Settings, account: str | None, unexpected: Unexpected) -> None:
        self._settings = settings
        self._account = account
        self._unexpected = unexpected
        self._offset_seconds = 0.0  # what the host's clock is off, for who signs by the database's

    def guarded(self, name: str, findings: Iterator[NamedFinding]) -> Iterator[NamedFinding]:
        """The findings; whatever ends them becomes the last one, so that the document is whole in any case."""
        try:
            yield from findings
        except RelayError as error:
            for line in str(error).splitlines() or [""]:  # a problem of its own each
                yield NamedFinding(name, State.FAIL, line, error.hint or _HINTS[name])
        except Exception as error:
            self._unexpected(error)
            said = f"cannot be looked at: unexpected {type(error).__name__}"
            yield NamedFinding(name, State.FAIL, said, "relay --debug check shows where it happened.")

    def files(self) -> Iterator[NamedFinding]:
        for problem in exposed(self._settings):
            yield NamedFinding("settings", State.WARN, problem, _HINTS["settings"])

    def database(self, engine: Engine) -> Iterator[NamedFinding]:
        self._offset_seconds = host_offset_seconds(engine)
        yield from examine(engine, self._settings, call_timeout_seconds(self._settings))

    def credentials(self, ask_platform: bool) -> Iterator[NamedFinding]:
        """Asks the platform only where the producer can do that without a message."""
        account = self._account or DEFAULT
        with open_accounts(self._settings, self._now) as accounts:
            accounts.refresh([account, *accounts.listed()[:MOST_LISTED]])
            usable = is_usable(accounts, self._settings, account)
            known = accounts.credential(account) is not None
            if usable:
                yield NamedFinding("accounts", State.OK, f"{account} has credentials" if known else "none are needed")
            elif not accounts.lost(account):
                hint = "Configure them, or name another account: relay check --account NAME"
                yield NamedFinding("accounts", State.WARN, f"{account} has no credentials", hint)
            yield from _troubles(accounts)
            if not accounts.trouble:
                yield from self.guarded("accounts", self._way_to_accounts())
            if not ask_platform:
                return
            asked_about = {accounts.route(account): account} if usable else {}
            for name, route in ({} if self._account else accounts.routed()).items():
                asked_about.setdefault(route, name)
            for each in asked_about.values():
                yield from self.guarded("platform", self._platform(accounts, each))

    def _way_to_accounts(self) -> Iterator[NamedFinding]:
        """What is wrong with the way to a database of their own: secrets come over it."""
        settings = self._settings
        if not (settings.accounts_query and settings.accounts_database_url):
            return
        with reading_accounts(settings) as connection:
            found = [finding for finding in way.encryption(connection, settings) if finding.state is not State.OK]
        yield from (named("accounts", finding) for finding in found)

    def _now(self) -> float:
        return time.time() + self._offset_seconds

    def _platform(self, accounts: Accounts, account: str) -> Iterator[NamedFinding]:
        route = accounts.route(account)
        producer = route.producer if route else producer_for(self._settings, accounts.credential, self._now)
        found = background.run(probed(producer, account))
        if found is not None:
            yield named("platform", found)


def _troubles(accounts: Accounts) -> Iterator[NamedFinding]:
    for error in accounts.troubles:
        for line in str(error).splitlines():
            yield NamedFinding("accounts", State.FAIL, line, error.hint or _HINTS["accounts"])
    for sentence in left_untold(accounts):
        yield NamedFinding("accounts", State.FAIL, sentence, _HINTS["accounts"])
