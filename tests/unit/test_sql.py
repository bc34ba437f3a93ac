"""What is written once for all statements, and the register of advisory locks."""

from __future__ import annotations

import re
from pathlib import Path

from relay.sql import ADVISORY_LOCKS, migrate_lock, query

PACKAGE = Path(__file__).parents[2] / "relay"
_CALL = re.compile(r"pg_(?:try_)?advisory_(?:xact_)?(?:un)?lock(?:_shared)?\(")
# How the last number of a lock is written in our texts -> its name in the register.
_WRITTEN = {
    "256": "wake",
    "%s": "wake",
    "257": "archive",
    "0": "naming",
    "bucket": "key",
    "advisory.bucket": "key",
    "hashtext(:name)": "migrate",
}


def last_arguments(source: str) -> set[str]:
    found = set()
    for call in _CALL.finditer(source):
        depth, begin, end = 1, call.end(), call.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            if depth == 1 and source[end] == ",":
                begin = end + 1
            end += 1
        found.add(" ".join(source[begin : end - 1].split()))
    return found


def test_every_advisory_lock_is_in_the_register() -> None:
    used = {}
    for path in PACKAGE.rglob("*.py"):
        for argument in last_arguments(path.read_text()):
            used["bucket" if argument.endswith("255") else argument] = path.name
    unknown = {argument: file for argument, file in used.items() if argument not in _WRITTEN}
    assert unknown == {}, "add it to ADVISORY_LOCKS of relay/sql.py, with a number that nobody has"
    assert {_WRITTEN[argument] for argument in used} == ADVISORY_LOCKS.keys()


def test_no_two_advisory_locks_are_one() -> None:
    numbers = [(lock.table, second) for lock in ADVISORY_LOCKS.values() for second in lock.second]
    assert len(numbers) == len(set(numbers))
    assert migrate_lock("relay") == "relay.migrate.relay"


def test_parameters_are_numbered_in_the_order_of_their_first_use() -> None:
    numbered = query("select cast(:a as text), :b, :a, '{schema}'::text from {schema}.outbox", "other")
    assert numbered.text == "select cast($1 as text), $2, $1, 'other'::text from other.outbox"
    assert numbered.values({"a": 1, "b": 2}) == [1, 2]
