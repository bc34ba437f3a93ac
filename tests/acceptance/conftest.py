"""What every acceptance test starts from: a strict platform, an outbox, and the variables of a relay between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.outbox import Outbox
from tests.fixtures.strict_platform import StrictPlatform


@pytest.fixture
def platform() -> Iterator[StrictPlatform]:
    made = StrictPlatform()
    yield made
    made.close()


@pytest.fixture
def outbox(database_url: str) -> Outbox:
    return Outbox(database_url)


@pytest.fixture
def env(outbox: Outbox, platform: StrictPlatform) -> dict[str, str]:
    """Retries come at once, leases are short; the time zone is one in which a careless timestamp is wrong."""
    return {
        "RELAY_DATABASE_URL": outbox.url,
        "RELAY_TMC_URL": platform.url,
        "RELAY_TMC_APP_KEY": platform.app_key,
        "RELAY_TMC_APP_SECRET": platform.secret,
        "RELAY_TMC_SESSION": platform.session,
        "RELAY_TMC_TIMEOUT_SECONDS": "2",
        "RELAY_LEASE_SECONDS": "4",
        "RELAY_RETRY_BASE_SECONDS": "0.05",
        "RELAY_RETRY_MAX_SECONDS": "0.2",
        "RELAY_METRICS_PORT": "0",
        "TZ": "America/New_York",
    }
