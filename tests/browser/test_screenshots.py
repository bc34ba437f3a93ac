"""The pictures of the documents are those that the script takes; each is small, and stands with words for the blind."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import MISSING, UNDRIVEN
from tests.docs.markdown import CHINESE, DOCUMENTS, ROOT, name_of

FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
WIDTH = 1280
MENDED = "take them anew: make pictures"
_SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
_HAN = re.compile("[\u4e00-\u9fff]")


def size(file: Path) -> tuple[int, int]:
    """Width and height, from the head of a PNG."""
    head = file.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n"), file
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def shown() -> list[tuple[Path, str, Path]]:
    """The page, the words, and the file of each picture."""
    return [
        (page, words, (page.parent / target).resolve())
        for page in (*DOCUMENTS, *CHINESE)
        for words, target in _SHOWN.findall(page.read_text(encoding="utf-8"))
    ]


def test_each_picture_is_small_and_some_page_shows_it() -> None:
    files = set(FOLDER.iterdir())
    assert files == {file for _, _, file in shown()}, "a picture that no page shows, or one that is not there"
    assert {size(file)[0] for file in files} == {WIDTH}, MENDED
    assert [file for file in files if file.stat().st_size > MOST_BYTES] == []


def test_each_picture_is_told_in_the_language_of_its_page() -> None:
    for page, words, file in shown():
        assert len(words) > 20, f"{name_of(page)} does not say what {file.name} shows"
        assert bool(_HAN.search(words)) == (page in CHINESE), f"{name_of(page)} has {words!r}"
        assert (".zh." in file.name) == (page in CHINESE)


def test_the_script_takes_these_pictures(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason=UNDRIVEN)
    from tests.browser.screenshots import chromium

    if chromium() is None:
        pytest.skip(MISSING)
    command = [sys.executable, "-m", "tests.browser.screenshots", str(tmp_path)]
    taken = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert taken.returncode == 0, taken.stderr
    made = {file.name: size(file) for file in tmp_path.iterdir()}
    assert made == {file.name: size(file) for file in FOLDER.iterdir()}, MENDED
