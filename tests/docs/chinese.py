"""``python -m tests.docs.chinese``: which sections of the Chinese pages are behind the English ones.

Below each Chinese heading stands the hash of the English section it was written from: ``<!-- en: 1a2b3c4d -->``.
What is behind is printed with the line to paste once the translation is brought up to date; the exit code is 1 then.
With ``--copy`` the blocks and the tables of figures, which are the same in both languages, are taken over first.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.markdown import ROOT

# English page -> the Chinese one, section by section.
PAGES = {
    ROOT / "README.md": ROOT / "README.zh-CN.md",
    ROOT / "docs" / "README.md": ROOT / "docs" / "zh" / "README.md",
    **{
        ROOT / "docs" / name: ROOT / "docs" / "zh" / name
        for name in (
            "accounts.md",
            "audit.md",
            "checking.md",
            "commands.md",
            "dashboard.md",
            "deploying.md",
            "inserting.md",
            "metrics.md",
            "network.md",
            "operating.md",
            "outcomes.md",
            "producers.md",
            "recovery.md",
            "tracing.md",
            "upgrading.md",
        )
    },
}
BLOCK = re.compile(
    r"(?:^ *<!-- not run: [^\n]+ -->\n)?^ *```\w*\n.*?^ *```$|(?<=\n\n)(?:^    [^\n]*\n)+", re.MULTILINE | re.DOTALL
)
FIGURES = re.compile(r"^<!-- figures: .+? -->\n(.*?)^<!-- end of figures -->$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^<!-- en: ([0-9a-f]{8}) -->$", re.MULTILINE)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, up to the next heading of any level. ``line`` counts from 1."""

    heading: str
    level: int
    line: int
    body: str

    @property
    def blocks(self) -> list[str]:
        """As they stand, fenced or indented, each with the line that says why it is not run."""
        return BLOCK.findall(self.body)

    @property
    def prose(self) -> str:
        """What people translate."""
        return BLOCK.sub("", FIGURES.sub("", MARK.sub("", self.body)))

    @property
    def mark(self) -> str:
        """The hash it bears, empty if it has none."""
        found = MARK.search(self.body)
        return found[1] if found else ""

    def hash(self) -> str:
        """Of heading, prose and blocks, however the lines are broken; measured figures are left out."""
        words = " ".join(FIGURES.sub("", f"{self.heading}\n{self.body}").split())
        return hashlib.sha256(words.encode()).hexdigest()[:8]


def sections(text: str) -> list[Section]:
    """In order; what looks like a heading inside of a block is none."""
    blank = BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    found = list(_HEADING.finditer(blank))
    ends = [*(one.start() for one in found[1:]), len(text)]
    return [
        Section(one[2], len(one[1]), text.count("\n", 0, one.start()) + 1, text[one.end() : end])
        for one, end in zip(found, ends, strict=True)
    ]


def pairs(english: Path) -> list[tuple[Section, Section]]:
    """Each section of an English page with the Chinese one at its place, as far as both pages go."""
    both = (sections(page.read_text(encoding="utf-8")) for page in (english, PAGES[english]))
    return list(zip(*both, strict=False))


def behind(english: Path) -> Iterator[str]:
    """A paragraph for each section that changed after its translation."""
    chinese = PAGES[english].relative_to(ROOT).as_posix()
    for source, translated in pairs(english):
        if translated.mark != source.hash():
            yield (
                f"{english.relative_to(ROOT).as_posix()}:{source.line}: {source.heading!r} is not what "
                f"{chinese}:{translated.line}: {translated.heading!r} was written from.\n"
                f"    Bring the translation up to date, then put below its heading: <!-- en: {source.hash()} -->"
            )


def figures(english: Path) -> list[str]:
    """The tables of figures as the Chinese page has to show them: names of sections are those of its own."""
    names = {source.heading: translated.heading for source, translated in pairs(english)}

    def named(row: re.Match[str]) -> str:
        name, number = row[1], row[2] or ""
        return f"| {names.get(name, name)}{number} |"

    tables = FIGURES.findall(english.read_text(encoding="utf-8"))
    return [re.sub(r"^\| (.+?)( \(\d+\))? \|", named, table, flags=re.MULTILINE) for table in tables]


def copied(english: Path) -> str:
    """The Chinese page with the blocks and figures of the English one, where it has as many of them."""
    text = PAGES[english].read_text(encoding="utf-8")
    for pattern, wanted in (
        (BLOCK, BLOCK.findall(english.read_text(encoding="utf-8"))),
        (FIGURES, figures(english)),
    ):
        there = list(pattern.finditer(text))
        if len(there) == len(wanted):
            group = pattern.groups
            for place, new in reversed(list(zip(there, wanted, strict=True))):
                text = text[: place.start(group)] + new + text[place.end(group) :]
    return text


def main(arguments: list[str]) -> int:
    if arguments == ["--copy"]:
        for english, chinese in PAGES.items():
            chinese.write_text(copied(english), encoding="utf-8")
    found = [one for english in PAGES for one in behind(english)]
    print("\n".join(found) or "every section is up to date")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
