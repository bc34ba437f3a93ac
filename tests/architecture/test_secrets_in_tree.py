"""Nothing in the tree tells where it was written: no path of one machine, no private package index, no key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_OURS = {".git", ".venv", ".postgres", ".relay-demo", "__pycache__", "build", "dist"}
COMMON_PLACES = ("/usr", "/opt", "/app", "/srv", "/code", "/src")  # a container file may name these with good reason

SUSPICIOUS = {
    "the home of a user": re.compile(r"(?<![\w.])/(root|home|Users)/[\w.]"),
    "a package index": re.compile(r"index[-_]url|find[-_]links|registry\s*=\s*\W?https?:", re.IGNORECASE),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "an access token": re.compile(r"\b(ghp_|github_pat_|glpat-|AKIA|xox[bp]-)\w{16,}"),
}


def files() -> list[Path]:
    """What git would commit; outside a checkout, every file that is not a product of running something."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = list(ROOT.rglob("*"))
    return [
        path
        for path in found
        if path.is_file()
        and not any(part in NOT_OURS or part.startswith(".venv-") for part in path.relative_to(ROOT).parts)
    ]


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="ignore")


def machine_paths() -> list[str]:
    """Where this checkout and its interpreter happen to lie."""
    return [
        str(path)
        for path in (ROOT, Path(sys.prefix).resolve())
        if len(path.parts) > 2 and not str(path).startswith(COMMON_PLACES)
    ]


def test_there_is_something_to_look_at() -> None:
    assert Path(__file__) in files()


def test_no_secret_no_index_no_home() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {what}: {match.group()}"
        for path in files()
        if path != Path(__file__)
        for what, pattern in SUSPICIOUS.items()
        if (match := pattern.search(text_of(path)))
    ]
    assert found == [], "take it out, and out of the commits; in a test make it while it runs"


def test_no_path_of_this_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in files()
        for place in machine_paths()
        if f"{place}/" in text_of(path)
    ]
    assert found == [], "write the path as it is seen from the root of the tree"
