"""What docs/commands.md says of completion: the script of each shell is printed, and it finds verbs and options."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.argv[0] = 'relay'; from relay.cli import main; main()"


def completed(**variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    found = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return found.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"_RELAY_COMPLETE={shell}_source relay" in page
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = completed(_RELAY_COMPLETE=f"{shell}_source")
    assert f"_RELAY_COMPLETE={shell}_complete" in script
    assert re.search(r"\brelay\b", script)
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_verbs_and_options_are_found() -> None:
    verbs = completed(_RELAY_COMPLETE="bash_complete", COMP_WORDS="relay st", COMP_CWORD="1")
    options = completed(_RELAY_COMPLETE="bash_complete", COMP_WORDS="relay status --w", COMP_CWORD="2")
    assert (verbs, options) == ("plain,status\n", "plain,--watch\n")
