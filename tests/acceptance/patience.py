"""Waiting for what whole processes do on a machine that may be busy with other tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tests.fixtures import waiting

T = TypeVar("T")


def eventually(predicate: Callable[[], T]) -> T:
    return waiting.eventually(predicate, deadline_seconds=30)
