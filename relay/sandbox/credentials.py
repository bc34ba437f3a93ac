"""Whom the sandbox lets in: the credentials that the settings name, and known ones in the place of those not given.

What a relay has to be told to reach it is said here too, for a shell and for a program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay.sandbox.checks import App
from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION, Platform, PlatformPolicy
from relay.settings import Settings

CREDENTIAL_OPTIONS = ("tmc_app_key", "tmc_app_secret", "tmc_session")


def platform_for(settings: Settings, faults: Sequence[str] = ()) -> Platform:
    """A platform that knows the account ``default`` of these settings, and no other."""
    secret, session = settings.tmc_app_secret, settings.tmc_session
    app = App(
        secret.get_secret_value() if secret else APP_SECRET,
        frozenset({session.get_secret_value() if session else SESSION}),
    )
    return Platform(PlatformPolicy({settings.tmc_app_key or APP_KEY: app}), faults)


def exports(router_url: str, settings: Settings) -> list[str]:
    """The lines for the shell of a relay that is to reach it there; what was set is not repeated."""
    given = {
        "APP_KEY": (settings.tmc_app_key, APP_KEY),
        "APP_SECRET": (settings.tmc_app_secret, APP_SECRET),
        "SESSION": (settings.tmc_session, SESSION),
    }
    lines = [f"export RELAY_TMC_URL={router_url}"]
    return lines + [f"export RELAY_TMC_{name}={ours}" for name, (own, ours) in given.items() if own is None]


def reaching(router_url: str, **options: Any) -> dict[str, Any]:
    """The way there as flags of ``relay.settings.load``, with these options of the producer."""
    return {"tmc_url": router_url} | {f"tmc_{name}": value for name, value in options.items()}
