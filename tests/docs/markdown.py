"""What the documents are made of, as far as tests look at it: fenced blocks, tables, words in backticks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
CHINESE = [ROOT / "README.zh-CN.md", *sorted((ROOT / "docs" / "zh").glob("*.md"))]

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``reason`` says why it cannot be run here, or is empty; ``line`` counts from 1."""

    document: str
    line: int
    language: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def name_of(path: Path) -> str:
    """Its path in the repository: two documents are called README.md."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(name_of(path), line, match["language"], match["text"], match["reason"] or "")


def anchors(path: Path) -> set[str]:
    """What links to its headings end with, as GitHub makes it: small, no punctuation, a dash for a space."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tables(path: Path, *heads: str) -> list[list[str]]:
    """The rows of every table with exactly these heads, cells without backticks."""
    rows: list[list[str]] = []
    wanted = False
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            wanted = False
        elif cells == list(heads):
            wanted = True
        elif wanted and set(cells[0]) != {"-"}:
            rows.append(cells)
    return rows


def quoted(path: Path) -> set[str]:
    """Everything in backticks outside of fenced blocks."""
    return set(re.findall(r"`([^`\n]+)`", _FENCE.sub("", path.read_text(encoding="utf-8"))))
