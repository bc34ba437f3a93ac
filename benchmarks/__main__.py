"""``python -m benchmarks [--quick] [measure ...]``: prints each table when it is done, keeps all of them as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module

from benchmarks.effort import FULL, QUICK
from benchmarks.ground import Ground
from benchmarks.table import RESULTS

MEASURES = ("drains", "latency", "inserts", "bulk", "claims", "scale", "knobs", "peers")
AT_A_GLANCE = MEASURES[:-2]
ON_REQUEST = ("audit", "dashboard", "tabs", "scrape")  # what is asked of a long history: minutes more, and 20 GB
LARGE = {"shared_buffers": "1GB"}  # for the last three: what who has ten million messages gives PostgreSQL
_NAMES = f"some of {', '.join(MEASURES)} (all of these by default), {', '.join(ON_REQUEST)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the relay side by side.")
    parser.add_argument("measures", nargs="*", metavar="measure", help=_NAMES)
    parser.add_argument("--ground", metavar="FOLDER", help="Keep the server there, and find large databases again.")
    parser.add_argument("--quick", action="store_true", help="a glance; knobs and peers only if named")
    chosen = parser.parse_args()
    if unknown := set(chosen.measures) - {*MEASURES, *ON_REQUEST}:
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; choose from {_NAMES}")
    run(chosen.measures or (AT_A_GLANCE if chosen.quick else MEASURES), quick=chosen.quick, folder=chosen.ground)


def run(measures: Sequence[str], *, quick: bool, folder: str | None = None) -> None:
    started, results = time.monotonic(), []
    settings = LARGE if {"dashboard", "tabs", "scrape"} & set(measures) else {}
    with Ground(folder, settings) as ground:
        facts = machine_facts(ground)
        print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n", flush=True)
        for name in measures:
            begun = time.monotonic()
            for table in import_module(f"benchmarks.measures.{name}").measure(ground, QUICK if quick else FULL):
                results.append(table.as_json())
                print(table, end="\n\n", flush=True)
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    kept = {"machine": facts, "quick": quick, "tables": results}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False))
    print(f"{time.monotonic() - started:.0f} s, every single value in {path}")


def machine_facts(ground: Ground) -> dict[str, str]:
    """What the numbers depend on; the load is what other programs did when the run began."""
    return {
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "Python": machine.python_version(),
        "PostgreSQL": ground.version(),
        "system": f"{machine.system()} {machine.machine()}",
    }


if __name__ == "__main__":
    main()
