"""When to try again: a ceiling that doubles, and a delay anywhere below it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.backoff import ceiling_seconds, delay_seconds


@pytest.mark.parametrize(
    ("attempts", "ceiling"),
    [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (10, 512.0), (11, 900.0), (12, 900.0), (10**9, 900.0)],
)
def test_the_ceiling_doubles_up_to_the_maximum(attempts: int, ceiling: float) -> None:
    assert ceiling_seconds(attempts, base_seconds=1.0, max_seconds=900.0) == ceiling


def test_a_base_above_the_maximum_is_the_maximum() -> None:
    assert ceiling_seconds(1, base_seconds=60.0, max_seconds=5.0) == 5.0


@given(st.integers(1, 100), st.floats(0.001, 60), st.floats(0.001, 3600), st.integers())
def test_the_delay_lies_between_nothing_and_the_ceiling(attempts: int, base: float, longest: float, seed: int) -> None:
    delay = delay_seconds(attempts, base_seconds=base, max_seconds=longest, rng=random.Random(seed))
    assert 0.0 <= delay <= ceiling_seconds(attempts, base_seconds=base, max_seconds=longest) <= longest


def test_the_jitter_is_full() -> None:
    rng = random.Random(1)
    delays = [delay_seconds(4, base_seconds=1.0, max_seconds=900.0, rng=rng) for _ in range(1000)]
    quarters = [sum(low <= delay < low + 2 for delay in delays) for low in (0, 2, 4, 6)]
    assert all(200 < count < 300 for count in quarters)
