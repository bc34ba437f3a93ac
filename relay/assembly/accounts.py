"""The sources of accounts that the settings name, in the order in which they are asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection, Engine, create_engine

from relay.accounts import DEFAULT, Accounts, Found, Source
from relay.accounts.query import QuerySource
from relay.accounts.sources import Folder, Given, TomlFile
from relay.addresses import normalized_url
from relay.assembly.producers import has_ours, producer_secret_files, wants_credentials
from relay.assembly.routes import Routes
from relay.credential import Credential
from relay.database import APPLICATION_NAME, CONNECT_TIMEOUT_SECONDS, ENCODING
from relay.errors import ConfigurationError, UnreachableError
from relay.sessions import make_independent
from relay.settings import Settings, is_there, secret_files
from relay.strangers import readers

MOST_LISTED = 1000  # accounts of a folder that are looked at one by one, where all are asked about
_TOLD = 3  # files, of what may be thousands
_SILENCE_MS = 10_000  # a server that has vanished from the network is given up after this long


@contextmanager
def open_accounts(settings: Settings, now: Callable[[], float] = time.time) -> Iterator[Accounts]:
    """The accounts, checked; ``default`` and those of the TOML file are looked up already.

    ``now`` gives the seconds since the epoch to those of their producers that sign with it.
    Raises ConfigurationError or UnreachableError where a source is of no use, or every account that is known.
    """
    with ExitStack() as stack:
        sources: list[Source] = []
        if settings.accounts_query:
            engine = _accounts_engine(settings)
            stack.callback(engine.dispose)
            sources.append(QuerySource(engine, settings.accounts_query))
        if settings.accounts_dir:
            sources.append(Folder(settings.accounts_dir))
        written: list[str] = []
        if is_there(settings.file):
            file = TomlFile(settings.file)
            written = file.names()
            sources.append(file)
        others = settings.accounts_query or settings.accounts_dir or written
        routes = Routes(settings, lambda account: accounts.credential(account), now)
        given = Given(_given(settings, needed=not others))
        accounts = Accounts([*sources, given], understand=routes.understand)
        accounts.check()
        accounts.refresh([DEFAULT, *written])
        _require_one(accounts, settings, [DEFAULT, *written])
        yield accounts


def _given(settings: Settings, *, needed: bool) -> dict[str, Found]:
    """The account ``default`` of the settings. A producer whose options are elsewhere may do without."""
    try:
        given = settings.default_credential(needed=needed and has_ours(settings, settings.producer))
    except ConfigurationError as error:
        if needed:
            raise
        return {DEFAULT: error}
    return {DEFAULT: Credential(*given)} if given else {}


def _require_one(accounts: Accounts, settings: Settings, looked_up: Sequence[str]) -> None:
    """Raises what is wrong with all accounts, where there is none that anything could be sent for.

    Of those of a query nobody knows before a message names them, nor whether a secret of the folder is just being
    renewed: where these are set, it takes trouble with ``default`` itself.
    """
    if not accounts.trouble or any(is_usable(accounts, settings, name) for name in looked_up):
        return
    if settings.accounts_query or settings.accounts_dir:
        if not accounts.lost(DEFAULT):
            return
        others = accounts.listed()[:MOST_LISTED]
        accounts.refresh(others)
        if any(is_usable(accounts, settings, name) for name in others):
            return
    told = accounts.troubles
    raise ConfigurationError("\n".join([*map(str, told), *left_untold(accounts)]), told[0].hint)


def is_known(settings: Settings, account: str) -> bool:
    """Whether a source of the settings has this account, be it of use or not; one that cannot answer has none."""
    try:
        with open_accounts(settings) as accounts:
            accounts.refresh([account])
            return accounts.identity(account) is not None or accounts.lost(account) is not None
    except (ConfigurationError, UnreachableError):
        return False


def is_usable(accounts: Accounts, settings: Settings, name: str) -> bool:
    """Whether messages of this account, which has been looked up, can be sent."""
    if accounts.lost(name):
        return False
    return accounts.identity(name) is not None or not wants_credentials(settings.producer)


def left_untold(accounts: Accounts) -> list[str]:
    """A sentence for those troubles that are more than a person reads."""
    more = accounts.troubled - len(accounts.troubles)
    return [f"and {more} more account{'s' if more > 1 else ''} of no use"] if more else []


@contextmanager
def reading_accounts(settings: Settings) -> Iterator[Connection]:
    """A connection such as the query for credentials goes over."""
    engine = _accounts_engine(settings)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _accounts_engine(settings: Settings) -> Engine:
    """One connection, apart from those the worker claims and settles with."""
    engine = create_engine(
        normalized_url(settings.accounts_database_url or settings.database_url),
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,  # after a restart of the server the first look-up already succeeds
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "fallback_application_name": APPLICATION_NAME,
            "client_encoding": ENCODING,
            "tcp_user_timeout": _SILENCE_MS,
            # Behind a pooler the next transaction may run on another server connection: a statement that is prepared
            # there already ends the look-up, and what the driver then forgets would be a stranger's.
            "prepare_threshold": None,
        },
    )
    make_independent(engine)
    return engine


def exposed(settings: Settings) -> list[str]:
    """A sentence for each file with secrets that others may read, and its mending."""
    files = list(dict.fromkeys([*secret_files(settings.file), *producer_secret_files(settings)]))
    if settings.accounts_dir:
        files += sorted(settings.accounts_dir.glob("[!.]*/app_secret")) + sorted(
            settings.accounts_dir.glob("[!.]*/session")
        )
    found = [(file, who) for file in files if (who := readers(file))]
    told = [f"{file} contains secrets and can be read by {who}; run: chmod go-r on it" for file, who in found[:_TOLD]]
    more = len(found) - _TOLD
    return told + ([f"so can {more} more file{'s' if more > 1 else ''} with secrets"] if more > 0 else [])
