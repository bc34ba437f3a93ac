"""``relay check``: each finding on a line, and an exit code for scripts. It changes nothing and publishes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from relay.cli.options import json_option
from relay.cli.printing import print_json, print_traceback, say, shown

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from relay.accounts import Accounts
    from relay.checks import NamedFinding
    from relay.settings import Settings

# What stops everything else has a code of its own; anything else that fails is a 1.
_CODES = {"settings": 78, "database": 69}
# The next step where an error does not say one.
_HINTS = {
    "settings": "docs/accounts.md: who may read files with secrets.",
    "database": "Check RELAY_DATABASE_URL and that the server runs.",
    "accounts": "See docs/accounts.md: what a source must give.",
    "platform": "See docs/network.md: the way to the platform.",
}


@click.command()
@click.option("--account", default="default", show_default=True, help="Whose credentials the platform is asked about.")
@click.option("--no-platform", is_flag=True, help="Do not call the platform.")
@json_option
def check(account: str, no_platform: bool, as_json: bool) -> None:
    """Look for what is wrong: settings, database, tables, credentials, backlog.

    The platform is asked by a call without messages, which publishes nothing. Exit code 0 if nothing failed, warnings
    or not; 1 if something did; 69 if PostgreSQL cannot be reached, 78 if the settings are wrong.
    """
    facts = []
    for finding in _findings(account, ask_platform=not no_platform):
        facts.append(finding)
        if not as_json:
            hint = f"  -> {shown(finding.hint)}" if finding.hint else ""
            say(f"{finding.state:4}  {finding.name:14}  {shown(finding.sentence)}{hint}")
    failed = [finding.name for finding in facts if finding.state == "fail"]
    if as_json:
        print_json({"ok": not failed, "facts": facts})
    if failed:
        raise click.exceptions.Exit(next((_CODES[name] for name in failed if name in _CODES), 1))


def _findings(account: str, *, ask_platform: bool) -> Iterator[NamedFinding]:
    from relay.assembly.database import open_engine
    from relay.assembly.producers import producer_options
    from relay.checks import NamedFinding, State
    from relay.errors import ConfigurationError
    from relay.settings import load

    try:
        settings = load()
        producer_options(settings)
        engine = open_engine(settings)
    except ConfigurationError as error:
        for problem in str(error).splitlines():
            yield NamedFinding("settings", State.FAIL, problem, error.hint or "The README lists every setting.")
        return
    yield NamedFinding("settings", State.OK, f"producer {settings.producer}, schema {settings.schema_name}")
    yield from _guarded("settings", _exposed(settings))
    offsets: list[float] = []
    try:
        yield from _guarded("database", _database(engine, settings, offsets))
    finally:
        engine.dispose()
    yield from _guarded("accounts", _credentials(settings, account, offsets[0] if offsets else 0.0, ask_platform))


def _exposed(settings: Settings) -> Iterator[NamedFinding]:
    from relay.assembly.accounts import exposed
    from relay.checks import NamedFinding, State

    for problem in exposed(settings):
        yield NamedFinding("settings", State.WARN, problem, _HINTS["settings"])


def _guarded(name: str, findings: Iterator[NamedFinding]) -> Iterator[NamedFinding]:
    """The findings; whatever ends them becomes the last one, so that the document is whole in any case."""
    from relay.checks import NamedFinding, State
    from relay.errors import RelayError

    try:
        yield from findings
    except RelayError as error:
        yield NamedFinding(name, State.FAIL, str(error), error.hint or _HINTS[name])
    except Exception as error:
        if click.get_current_context().find_root().params.get("debug"):
            print_traceback(error)
        said = f"cannot be looked at: unexpected {type(error).__name__}"
        yield NamedFinding(name, State.FAIL, said, "relay --debug check shows where it happened.")


def _database(engine: Engine, settings: Settings, offsets: list[float]) -> Iterator[NamedFinding]:
    """Puts what the host's clock is off into ``offsets``, for whoever signs by the database's."""
    from relay.assembly.producers import call_timeout_seconds
    from relay.checks.examination import examine, host_offset_seconds

    offsets.append(host_offset_seconds(engine))
    yield from examine(engine, settings, call_timeout_seconds(settings))


def _credentials(settings: Settings, account: str, offset_seconds: float, ask_platform: bool) -> Iterator[NamedFinding]:
    """Asks the platform only where the producer can do that without a message."""
    from relay.assembly.accounts import open_accounts
    from relay.assembly.producers import wants_credentials
    from relay.checks import NamedFinding, State

    wanted = wants_credentials(settings)
    with open_accounts(settings) as accounts:
        accounts.refresh([account])
        known = accounts.identity(account) is not None
        if accounts.trouble:
            yield NamedFinding("accounts", State.FAIL, accounts.trouble, _HINTS["accounts"])
        elif known or not wanted:
            yield NamedFinding("accounts", State.OK, f"{account} has credentials" if known else "none are needed")
        else:
            hint = "Configure them, or name another account: relay check --account NAME"
            yield NamedFinding("accounts", State.WARN, f"{account} has no credentials", hint)
        if not accounts.trouble:
            yield from _guarded("accounts", _way_to_accounts(settings))
        if (known or not wanted) and ask_platform:
            yield from _guarded("platform", _platform(settings, accounts, account, offset_seconds))


def _way_to_accounts(settings: Settings) -> Iterator[NamedFinding]:
    """What is wrong with the way to a database of their own: secrets come over it."""
    from relay.assembly.accounts import reading_accounts
    from relay.checks import State, named, way

    if not (settings.accounts_query and settings.accounts_database_url):
        return
    with reading_accounts(settings) as connection:
        found = [finding for finding in way.encryption(connection, settings) if finding.state is not State.OK]
    yield from (named("accounts", finding) for finding in found)


def _platform(settings: Settings, accounts: Accounts, account: str, offset_seconds: float) -> Iterator[NamedFinding]:
    from relay import background
    from relay.assembly.producers import probed
    from relay.checks import named

    found = background.run(probed(settings, accounts.credential, account, lambda: time.time() + offset_seconds))
    if found is not None:
        yield named("platform", found)
