"""What the worker is told of the troubles of accounts: by change, and not too often."""

from __future__ import annotations

from typing import Any

import pytest

from relay.events import AccountsMended, AccountsTroubled, Events
from relay.worker.directory import Troubles
from tests.fixtures.scripted import Phonebook


def test_troubles_of_a_directory_are_told_by_change_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[Any]()
    monkeypatch.setattr("relay.worker.directory.time.monotonic", lambda: now[0])
    directory = Phonebook()
    troubles = Troubles(lambda: directory.trouble, Events([told.append]))
    for at, trouble in [
        (0, None),
        (1, "one"),
        (2, "one"),
        (3, "two"),
        (9, "three"),
        (12, "two"),
        (30, None),
        (31, None),
    ]:
        now[0], directory.trouble = at, trouble
        troubles.tell()
    assert told == [AccountsTroubled("one"), AccountsTroubled("two"), AccountsMended()]
