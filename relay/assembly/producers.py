"""What a producer is told, from the settings: the same for the worker and for whoever only asks the platform."""

from __future__ import annotations

from collections.abc import Callable

from relay.accounts import Accounts
from relay.producers import ProducerConfig
from relay.settings import Settings


def producer_config(settings: Settings, accounts: Accounts, now: Callable[[], float]) -> ProducerConfig:
    return ProducerConfig(
        url=settings.tmc_url,
        sign_method=settings.tmc_sign_method,
        response_format=settings.tmc_format,
        simplify=settings.tmc_simplify,
        timeout_seconds=settings.tmc_timeout_seconds,
        batch_size=settings.batch_size,
        credentials=accounts.credential,
        now=now,
    )
