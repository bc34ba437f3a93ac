"""What is installed from the wheel works where nothing of the tree is; the demo from it is in ``test_demo.py``."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import relay
from tests.fixtures.wheel import PROJECT, Built


def called(built: Built, *arguments: str, **variables: str) -> str:
    """What it prints, started with an environment of its own."""
    done = subprocess.run(
        [str(built.relay), *arguments], cwd=built.folder, env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_makes_its_tables_and_delivers(built: Built, empty_url: str) -> None:
    asked = [str(built.folder / "bin" / "python"), "-c", "import relay; print(relay.__file__)"]
    from_where = subprocess.run(asked, cwd=built.folder, env={}, capture_output=True, text=True, check=True).stdout
    assert Path(from_where).is_relative_to(built.folder)
    there = {"RELAY_DATABASE_URL": empty_url, "RELAY_METRICS_PORT": "0"}
    called(built, "migrate", **there)
    called(built, "migrate", "--check", **there)
    called(built, "add", "taobao_jds_TradeTrace", '{"tid": 1}', **there)
    (line,) = called(built, "run", "--drain", "--producer", "stdout", **there).splitlines()
    assert json.loads(line)["topic"] == "taobao_jds_TradeTrace"


def test_the_wheel_is_the_package_and_the_sources_are_all(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = message_from_bytes(wheel.read(metadata))
    assert {name.split("/")[0] for name in names} == {"relay", metadata.split("/")[0]}
    assert (told["Version"], told["License-Expression"]) == (relay.__version__, "Apache-2.0")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert [name for name in names if name.endswith((".png", ".pyc", ".log"))] == []
    assert set(told.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    with tarfile.open(built.sources) as sources:
        folders = {name.split("/")[1] for name in sources.getnames() if name.count("/") > 1}
        pictures = {name.split("/", 1)[1] for name in sources.getnames() if name.endswith(".png")}
    assert pictures == {f"docs/pictures/{file.name}" for file in (PROJECT / "docs" / "pictures").iterdir()}
    assert {"relay", "migrations", "deploy", "docs", "examples", "tests"} <= folders


def test_the_readme_installs_what_make_makes() -> None:
    readme, rules = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    assert "\nwheel:" in rules
    assert "\nmake wheel" in readme
    assert "dist/" in readme
