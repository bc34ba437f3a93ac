"""The naive poller with one change: its own clock, not the database's, so fifty rows are marked by one statement."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from benchmarks.contenders import naive

prepare = partial(naive.prepare, now=lambda: datetime.now(UTC))
