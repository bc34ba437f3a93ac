"""Every run ends: soon after its grace whatever hangs, and after bounded patience where nothing can be written."""

from __future__ import annotations

import pytest

from tests.acceptance.outbox import Outbox, numbered
from tests.fixtures.processes import StartRelay


@pytest.mark.parametrize("flag", ["--drain", "--once"])
def test_a_run_that_is_to_end_does_not_wait_for_ever_for_a_database_that_takes_no_writes(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay, flag: str
) -> None:
    """A fail-over passes; a standby does not become a primary by waiting."""
    outbox.insert(numbered(1))
    name = outbox.scalar("select current_database()")
    outbox.execute(f"alter database {name} set default_transaction_read_only = on")
    worker = start_relay("run", flag, env={**env, "RELAY_TMC_TIMEOUT_SECONDS": "0.2", "RELAY_LEASE_SECONDS": "1.2"})
    assert worker.wait(30) == 69
    worker.wait_for_line(r"^error: nothing could be written for \d+ s \(RELAY_LEASE_SECONDS\): ")
