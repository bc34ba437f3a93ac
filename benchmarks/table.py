"""How results are shown and kept: the median of every cell with its smallest and largest value, and a ratio.

The ratio compares the first column with that of the table's first row; it is the number that carries over to another
machine. Where the first row is the relay among others, it may be turned round: how many times as much the relay does.
JSON keeps every single value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Cells = Mapping[str, float]  # column -> value, of one run
RESULTS = Path(__file__).parent / "results"  # one JSON a run, named after the time


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    runs: Sequence[Cells]

    def values(self, column: str) -> list[float]:
        return [run[column] for run in self.runs]


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` have the same columns, which name their unit; the order of the first row's columns counts."""

    title: str
    rows: Sequence[Row]
    note: str = ""
    first_over: bool = False  # the ratio is the first row's value over this one's
    compared: bool = True  # or there is no ratio, for rows that are no rivals

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0].runs[0])

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        shown = [
            "  ".join([label.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))])
            for label, *rest in cells
        ]
        return "\n".join([self.title, "-" * len(self.title), *shown, *([self.note] if self.note else [])])

    def markdown(self) -> str:
        heads, *rows = self._cells()
        lines = [heads, ["---", *("--:" for _ in heads[1:])], *rows]
        notes = [f"- {line}" for line in self.note.splitlines()]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + (["", *notes] if notes else []))

    def as_json(self) -> dict[str, Any]:
        rows = [{"label": row.label, "runs": list(row.runs)} for row in self.rows]
        kept = {"title": self.title, "rows": rows, "note": self.note, "first_over": self.first_over}
        return kept if self.compared else kept | {"compared": False}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Table:
        rows = [Row(row["label"], row["runs"]) for row in kept["rows"]]
        return cls(kept["title"], rows, kept["note"], kept["first_over"], kept.get("compared", True))

    def _cells(self) -> list[list[str]]:
        heads = ["", *self.columns, f"{self.rows[0].label} / this" if self.first_over else "ratio"]
        if not self.compared:
            return [heads[:-1], *([r.label, *(_spread(r.values(c)) for c in self.columns)] for r in self.rows)]
        return [heads, *([r.label, *(_spread(r.values(c)) for c in self.columns), self._ratio(r)] for r in self.rows)]

    def _ratio(self, row: Row) -> str:
        first, this = (median(of.values(self.columns[0])) for of in (self.rows[0], row))
        over, under = (first, this) if self.first_over else (this, first)
        return f"{over / under:.2f}" if under else "-"


def in_turn(contenders: Mapping[str, Callable[[], Cells]], repeats: int) -> list[Row]:
    """Run everybody once, then everybody again in the opposite order: a machine that tires or rests favours nobody."""
    runs: dict[str, list[Cells]] = {label: [] for label in contenders}
    for turn in range(repeats):
        for label in list(contenders)[:: -1 if turn % 2 else 1]:
            runs[label].append(contenders[label]())
    return [Row(label, cells) for label, cells in runs.items()]


def _spread(values: Sequence[float]) -> str:
    if len(set(values)) == 1:
        return _short(values[0])
    return f"{_short(median(values))} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
