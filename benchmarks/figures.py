"""``python -m benchmarks.figures``: puts the newest complete result of each table into the documents. Says which.

A document says where a table goes, by its title; what stands between the two lines belongs to this program:

    <!-- figures: idle latency, commit to accepted over HTTP -->
    <!-- end of figures -->

Runs with ``--quick`` are never published. A table that nobody has measured yet leaves its place as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.table import RESULTS, Table

_DOCUMENTS = Path(__file__).parents[1] / "docs"
_PLACE = re.compile(r"(<!-- figures: (?P<title>.+?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def main() -> None:
    figures = newest(RESULTS)
    for document in sorted(_DOCUMENTS.glob("*.md")):
        text = document.read_text(encoding="utf-8")
        for place in _PLACE.finditer(text):
            said = "measured" if place["title"] in figures else "not measured"
            print(f"{document.name}: {place['title']}: {said}")
        document.write_text(published(text, figures), encoding="utf-8")


def newest(results: Path) -> dict[str, str]:
    """Title -> the table as Markdown with the day and the machine it comes from."""
    figures = {}
    for path in sorted(results.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["quick"]:
            continue
        day = f"{path.stem[:4]}-{path.stem[4:6]}-{path.stem[6:8]}"
        facts = ", ".join([day, *(f"{name} {value}" for name, value in kept["machine"].items())])
        for table in map(Table.from_json, kept["tables"]):
            figures[table.title] = f"{table.markdown()}\n\n*{facts}*\n"
    return figures


def published(text: str, figures: Mapping[str, str]) -> str:
    """The document with every measured table in its place."""
    return _PLACE.sub(
        lambda place: place[1] + figures[place["title"]] + place[3] if place["title"] in figures else place[0], text
    )


if __name__ == "__main__":
    main()
