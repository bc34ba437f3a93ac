"""How results are shown and kept: the median of every cell with its smallest and largest value, and a ratio.

The ratio compares the first column with that of the table's first row; it is the number that carries over to another
machine. JSON keeps every single value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Cells = Mapping[str, float]  # column -> value, of one run


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

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0].runs[0])

    def __str__(self) -> str:
        heads = ["", *self.columns, "ratio"]
        lines = [[row.label, *(_spread(row.values(c)) for c in self.columns), self._ratio(row)] for row in self.rows]
        widths = [max(len(line[i]) for line in (heads, *lines)) for i in range(len(heads))]
        shown = [
            "  ".join(
                [
                    line[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
                ]
            )
            for line in (heads, *lines)
        ]
        return "\n".join([self.title, "-" * len(self.title), *shown, *([self.note] if self.note else [])])

    def as_json(self) -> dict[str, object]:
        return {"title": self.title, "rows": [{"label": row.label, "runs": list(row.runs)} for row in self.rows]}

    def _ratio(self, row: Row) -> str:
        first = median(self.rows[0].values(self.columns[0]))
        return f"{median(row.values(self.columns[0])) / first:.2f}" if first else "-"


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
