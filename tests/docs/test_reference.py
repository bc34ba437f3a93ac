"""Every verb, option, setting, fault and code is documented, with the right default; every name mentioned exists."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import click
import pytest

from examples.spool_producer.relay_spool import SpoolOptions
from relay.assembly.producers import variable
from relay.cli.verbs import VERBS
from relay.cli.verbs import relay as group
from relay.producers import BUILT_IN, options_kind
from relay.producers.options import secret_options
from relay.sandbox.faults import KINDS
from relay.settings import PREFIX, SECRETS, Settings
from tests.docs.markdown import CHINESE, DOCUMENTS, ROOT, anchors, blocks, name_of, quoted, tables

README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"
DASHBOARD = ROOT / "docs" / "dashboard.md"
OUTCOMES = ROOT / "docs" / "outcomes.md"
PAGES = [*DOCUMENTS, *CHINESE]
TEXTS = {name_of(path): path.read_text(encoding="utf-8") for path in PAGES}


def command(verb: str) -> click.Command:
    found = pkgutil.resolve_name(VERBS[verb][0])
    assert isinstance(found, click.Command)
    return found


def options(of: click.Command) -> set[str]:
    """Its long options, but for --help."""
    return {name for p in of.params if isinstance(p, click.Option) for name in p.opts if name.startswith("--")}


def section(verb: str) -> str:
    """What docs/commands.md says under the heading of this verb."""
    _, _, after = TEXTS[name_of(COMMANDS)].partition(f"\n## relay {verb}\n")
    return after.partition("\n## ")[0]


def variables() -> dict[str, object]:
    """Every RELAY_ variable and its default."""
    return {str(field.validation_alias): field.default for field in Settings.model_fields.values()}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_row_and_a_section(verb: str) -> None:
    assert [f"relay {verb}"] in [row[:1] for row in tables(README, "command", "")], "give it a row in README.md"
    assert section(verb).strip(), f"give it a section '## relay {verb}' in docs/commands.md"


@pytest.mark.parametrize("verb", VERBS)
def test_exactly_the_options_of_a_verb_are_in_its_section(verb: str) -> None:
    documented = {
        name
        for line in section(verb).splitlines()
        if line.startswith("| `--")
        for name in re.findall(r"`(--[a-z-]+)`", line.split("|")[1])
    }
    assert documented == options(command(verb)), f"one row an option, under '## relay {verb}' in docs/commands.md"


def test_options_of_the_command_itself_are_documented() -> None:
    for name in options(group):
        assert f"relay {name}" in TEXTS[name_of(COMMANDS)], "say it in the opening of docs/commands.md"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = [row for path in (README, DASHBOARD) for row in tables(path, "variable", "default", "meaning")]
    documented = {row[0]: row[1] for row in rows}
    assert len(documented) == len(rows)
    there = {name: _written(default) for name, default in variables().items()}
    assert documented == there, "one row a setting with its default: in README.md, or docs/dashboard.md"


def test_every_fault_of_the_sandbox_is_documented() -> None:
    rows = tables(COMMANDS, "fault", "what happens")
    documented = {name.strip() for row in rows for name in row[0].split(",")}
    there = {f"{name}={kind.arg}" if kind.arg else name for name, kind in KINDS.items()}
    assert documented == there, "one row a fault, in the table of docs/commands.md under '## relay sandbox'"


@pytest.mark.parametrize("name", TEXTS)
def test_every_variable_mentioned_exists(name: str) -> None:
    known = {*variables(), *(f"{PREFIX}{secret.upper()}_FILE" for secret in SECRETS)}
    known |= set(re.findall(r"\bRELAY_TEST_[A-Z_]+\b", (ROOT / "tests" / "README.md").read_text()))
    for producer, kind in {**{each: options_kind(each) for each in BUILT_IN}, "spool": SpoolOptions}.items():
        known |= {variable(producer, option) for option in kind.model_fields}
        known |= {variable(producer, f"{option}_file") for option in secret_options(kind)}
    unknown = set(re.findall(r"\bRELAY_[A-Z_]+\b", TEXTS[name])) - known
    assert not unknown, (
        f"{name} names {sorted(unknown)}: misspelt, or of a producer that is neither ours nor the example"
    )


@pytest.mark.parametrize("producer", BUILT_IN)
def test_every_producer_of_the_relay_is_named(producer: str) -> None:
    (row,) = [" ".join(row) for row in tables(README, "variable", "default", "meaning") if row[0] == "RELAY_PRODUCER"]
    assert producer in row.split() or f"{producer}," in row.split(), "name it in the row RELAY_PRODUCER of README.md"
    (taken,) = re.findall(r"((?:`\w+`(?:, |\s+and\s+)?)+)\s+are\s+taken", TEXTS["docs/producers.md"])
    assert f"`{producer}`" in taken, "docs/producers.md says which names are taken"


@pytest.mark.parametrize("path", [README, COMMANDS, OUTCOMES], ids=lambda path: path.name)
def test_every_command_mentioned_exists(path: Path) -> None:
    lines = [line for block in blocks(path) for line in block.text.splitlines() if block.language == "sh"]
    for said in [*quoted(path), *lines]:
        for match in re.finditer(r"(?:^|[|/] ?)relay ([a-z][a-z-]*)([^|#]*)", said):
            assert match[1] in VERBS, f"{path.name} has {said!r}, and there is no such command"
            strange = set(re.findall(r"(?<!\w)--[a-z-]+", match[2])) - options(command(match[1])) - {"--help"}
            assert not strange, f"{path.name} has {said!r}, and the command has no {sorted(strange)}"


def test_every_python_name_mentioned_exists() -> None:
    import relay

    for said in quoted(README):
        for name in re.findall(r"\brelay\.(\w+)\(", said):
            assert hasattr(relay, name), f"README.md has {said!r}, and relay hands out no such name"


def test_every_file_mentioned_exists() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", TEXTS[name_of(path)]):
            assert (path.parent / target).exists(), f"{name_of(path)} links to {target}, which is not there"


def test_every_heading_mentioned_exists() -> None:
    for path in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", TEXTS[name_of(path)]):
            page = (path.parent / target).resolve() if target else path
            assert anchor in anchors(page), f"{name_of(path)} links to {target}#{anchor}"


def test_every_promise_has_its_test() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    promises = [row[0] for row in tables(README, "", "promised", "not promised")]
    assert promises == [str(number) for number in range(1, 11)]
    missing = [number for number in promises if not re.search(rf"def test_promise_{number}_", tests)]
    assert missing == [], "name a test test_promise_N_..., or take the promise out of README.md"


def _written(default: object) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case _:
            return str(default)
