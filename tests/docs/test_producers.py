"""The page on writing a producer shows the package in ``examples/`` as it is, and its settings are taken."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest

from relay.assembly.accounts import open_accounts
from relay.assembly.producers import producer_options
from relay.producers import GROUP
from relay.settings import load
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "producers.md"
PACKAGE = ROOT / "examples" / "spool_producer"


def test_the_page_quotes_the_example() -> None:
    shown = {
        language: [block.text for block in blocks(PAGE) if block.language == language]
        for language in ("python", "toml")
    }
    source, project = (PACKAGE / "relay_spool" / "__init__.py").read_text(), (PACKAGE / "pyproject.toml").read_text()
    assert shown["python"]
    for text in shown["python"]:
        assert text in source
    assert shown["toml"][0] in project


def test_the_accounts_of_their_page_go_where_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (settings,) = [block.text for block in blocks(ROOT / "docs" / "accounts.md") if block.language == "toml"]
    (tmp_path / "relay.toml").write_text(settings)
    with open_accounts(load()) as accounts:
        assert accounts.trouble is None
        ways = {name: type(route.producer).__name__ for name, route in accounts.routed().items()}
    assert ways == {"warehouse": "StdoutProducer", "trial": "TmcProducer"}


def test_the_settings_of_the_page_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    target = "examples.spool_producer.relay_spool:SpoolProducer"
    points = metadata.EntryPoints([metadata.EntryPoint("spool", target, GROUP)])
    monkeypatch.setattr("relay.producers.entry_points", lambda group: points)
    settings = [block.text for block in blocks(PAGE) if block.language == "toml"][1]
    (tmp_path / "relay.toml").write_text(settings)
    assert dict(producer_options(load())["spool"])["folder"] == Path("/var/spool/relay")
