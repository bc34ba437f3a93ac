"""The sources of credentials that the settings name, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Engine, create_engine

from relay.accounts import DEFAULT, Accounts, Source
from relay.accounts.query import Query
from relay.accounts.sources import Folder, Given, TomlFile
from relay.addresses import normalized_url
from relay.cli.database import APPLICATION_NAME, CONNECT_TIMEOUT_SECONDS, ENCODING
from relay.cli.printing import say
from relay.sessions import make_independent
from relay.settings import Settings, exposes_secrets, is_there
from relay.tmc.credential import Credential

_SILENCE_MS = 10_000  # a server that has vanished from the network is given up after so long


@contextmanager
def open_accounts(settings: Settings) -> Iterator[Accounts]:
    """The accounts, checked; ``default`` and those of the TOML file are looked up already.

    Raises ConfigurationError or UnreachableError where a source is of no use.
    """
    with ExitStack() as stack:
        sources: list[Source] = []
        names = [DEFAULT]
        if settings.accounts_query:
            engine = _engine(settings)
            stack.callback(engine.dispose)
            sources.append(Query(engine, settings.accounts_query))
        if settings.accounts_dir:
            sources.append(Folder(settings.accounts_dir))
        if is_there(settings.file):
            file = TomlFile(settings.file)
            names += file.names()
            sources.append(file)
        others = settings.accounts_query or settings.accounts_dir or len(names) > 1
        accounts = Accounts([*sources, Given(_given(settings, needed=not others))])
        _warn(settings)
        accounts.check()
        accounts.refresh(names)
        yield accounts


def _given(settings: Settings, *, needed: bool) -> dict[str, Credential]:
    """The account ``default`` of the settings. Another producer than tmc may do without, and so may other sources."""
    if settings.tmc_app_key or settings.tmc_app_secret or (needed and settings.producer == "tmc"):
        return {DEFAULT: Credential(*settings.require_tmc())}
    return {}


def _engine(settings: Settings) -> Engine:
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


def _warn(settings: Settings) -> None:
    if exposes_secrets(settings.file):
        say(
            f"warning: {settings.file} contains secrets and can be read by everyone: chmod o-r {settings.file}",
            err=True,
        )
