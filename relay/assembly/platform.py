"""The platform that ``relay sandbox`` plays: credentials that the settings name are let in."""

from __future__ import annotations

from collections.abc import Sequence

from relay.sandbox.checks import App
from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION, Platform, PlatformPolicy
from relay.settings import Settings


def platform_for(settings: Settings, faults: Sequence[str] = ()) -> Platform:
    """With the credentials of the account ``default``, and known ones in the place of those not given."""
    secret, session = settings.tmc_app_secret, settings.tmc_session
    app = App(
        secret.get_secret_value() if secret else APP_SECRET,
        frozenset({session.get_secret_value() if session else SESSION}),
    )
    return Platform(PlatformPolicy({settings.tmc_app_key or APP_KEY: app}), faults)
