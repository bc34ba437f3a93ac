"""How the demo looks: plain lines on stdout, progress on stderr, no colour and no cursor tricks."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Sequence

from relay.showing import escaped

_NO_BREAK = "\N{NO-BREAK SPACE}"


def say(text: str = "") -> None:
    """A line, or several, on stdout; shown at once, also through a pipe, so that progress does not overtake it."""
    sys.stdout.write(escaped(f"{text}\n", keep="\n"))
    sys.stdout.flush()


def progress(text: str) -> None:
    """A line on stderr: standard output is for what the demo found."""
    sys.stderr.write(escaped(f"{text}\n", keep="\n"))
    sys.stderr.flush()


def title(text: str) -> None:
    """A heading on standard output, underlined."""
    say(f"\n{text}\n{'-' * len(text)}")


def shell_line(arguments: Sequence[str], *, background: bool = False) -> str:
    """A command of the relay as it would be typed, folded where it grows long."""
    words = " ".join(["$ relay", *map(shlex.quote, arguments), *(["&"] if background else [])])
    whole = re.sub(r"(--\w+) (?!--)", rf"\1{_NO_BREAK}", words)  # an option stays with its value
    folded = textwrap.fill(whole, 96, subsequent_indent="    ", break_on_hyphens=False)
    return folded.replace(_NO_BREAK, " ").replace("\n", " \\\n")


def indented(text: str, by: int = 2) -> str:
    """The lines of the text, ``by`` blanks further in; lines without content stay empty."""
    return "\n".join(f"{' ' * by}{line}".rstrip() for line in text.strip("\n").splitlines())


def folded(text: str) -> str:
    """The text in lines that fit a terminal."""
    return textwrap.fill(text, 96, break_on_hyphens=False)


def counted(number: int, what: str) -> str:
    """ "1 call", "3 calls"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Columns two spaces apart, numbers to the right, nothing as ``-``; without rows it says so."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        return "nothing"
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, [head, *column])) for head, column in zip(heads, columns, strict=True)]
    numeric = [all(cell.isdecimal() for cell in column) for column in columns]
    lines = [list(heads), ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(map(_aligned, line, widths, numeric)).rstrip() for line in lines)


def _aligned(cell: str, width: int, numeric: bool) -> str:
    return cell.rjust(width) if numeric else cell.ljust(width)
