"""The pages that lead through the house say what is there: floors, files, locks, and every document in the index."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from relay.sql import ADVISORY_LOCKS
from tests.docs.markdown import ROOT, quoted, tables

ARCHITECTURE = ROOT / "docs" / "architecture.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
INDEX = ROOT / "docs" / "README.md"
GUIDES = [ARCHITECTURE, GLOSSARY, ROOT / "CONTRIBUTING.md"]
FLOORS = "rooms, from the top"


def test_the_floors_drawn_are_those_that_hold() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    floors = contracts["importlinter:contract:floors"]["layers"].split("\n")
    drawn = [row[0] for row in tables(ARCHITECTURE, FLOORS, "what they know")]
    there = [set(floor.split(" | ")) for floor in floors if floor]
    assert [set(floor.split(", ")) for floor in drawn] == there, (
        ".importlinter has others: write them into the page, too"
    )


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_file_and_module_named_exists(page: Path) -> None:
    named = {name for name in quoted(page) if re.fullmatch(r"(relay|tests|docs)/[\w/.-]*|[A-Z]+\.md", name)}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == [], f"moved: write the new place in {page}"


def test_every_advisory_lock_is_on_the_page() -> None:
    rows = tables(ARCHITECTURE, "lock", "table", "second number", "held by")
    there = {name: lock.table or "none" for name, lock in ADVISORY_LOCKS.items()}
    assert {row[0]: row[1] for row in rows} == there, "one row a lock of relay/sql.py, in docs/architecture.md"


def test_every_function_that_locks_a_table_is_on_the_page() -> None:
    functions = (ROOT / "tests" / "golden" / "functions").glob("*.sql")
    there = {
        (table, path.stem)
        for path in functions
        for table in re.findall(r"^\s*lock table (?:only )?(?:relay\.)?(\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    rows = tables(ARCHITECTURE, "table", "mode", "function", "what it keeps apart")
    told = {(row[0].split()[0], name) for row in rows for name in row[2].split(", ") if not name.startswith("none")}
    assert told == there, "one row a table and function, in the second table of locks of docs/architecture.md"


def test_every_document_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", INDEX.read_text(encoding="utf-8")))
    there = {page.name for page in (ROOT / "docs").glob("*.md")} - {INDEX.name}
    assert linked == there, "give it a line in docs/README.md, for whoever reads it"


def test_each_word_has_one_meaning_and_the_words_are_in_order() -> None:
    words = [row[0] for row in tables(GLOSSARY, "word", "meaning", "where")]
    assert words == sorted(words), "put the new row of docs/glossary.md in its place"
    assert len(words) == len(set(words)), "one row a word: join the two meanings, or find another word for one"
