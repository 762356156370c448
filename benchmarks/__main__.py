"""Measure aka beside what its transport and its database allow: `python -m benchmarks [--growth] [--rows 1,2] ...`.

Prints a table. A full run of all rows writes results.json and results.png beside this file, or growth.json and
growth.png; --short runs a few hundred calls a row to see that all works, and judges no figure. Exits with 0 also where
floors fall short, with 1 where something could not be measured.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aka.server.keys import new_secret
from benchmarks import chart, load, machine, report
from benchmarks.bench import Bench
from benchmarks.load import LoadFailed
from benchmarks.rounds import FULL, SHORT, Figure
from benchmarks.rows import GROWTH, ROWS, Row
from benchmarks.servers import ServerFailed

FOLDER: Final = Path(__file__).resolve().parent


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure aka's figures.")
    parser.add_argument("--growth", action="store_true", help="the rows of a large database, which takes longer")
    parser.add_argument("--rows", metavar="1,2", help="the rows to measure (default: all)")
    parser.add_argument("--short", action="store_true", help="a few hundred calls a row, to see that all works")
    arguments = parser.parse_args()
    all_rows, results = (GROWTH, "growth") if arguments.growth else (ROWS, "results")
    rows = arguments.rows.split(",") if arguments.rows else [*all_rows]
    if unknown := [row for row in rows if row not in all_rows]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(all_rows)}")
    try:
        about, figures = _measure([all_rows[row] for row in rows], short=arguments.short)
        if set(rows) == set(all_rows) and not arguments.short:
            _keep(results, about, figures)
    except (LoadFailed, ServerFailed, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"benchmarks: {error}")


def _measure(rows: Sequence[Row], *, short: bool) -> tuple[dict[str, Any], list[Figure]]:
    """Measure the rows and print their figures; return these and what they were measured on."""
    began = time.monotonic()
    disk = machine.disk_folder()
    with tempfile.TemporaryDirectory(prefix="aka-bench-", dir=disk) as folder:
        driver = load.driver(Path(folder), new_secret())
        about = machine.described(disk) | {"driver": driver.name}
        print(f"driver: {driver.name}; databases on {about['machine']['file_system']} in {folder}\n{report.HEAD}")
        figures: list[Figure] = []
        for row in rows:
            for figure in row(Bench(driver, Path(folder), SHORT if short else FULL)):
                print(report.line(figure, judged=not short), flush=True)
                figures.append(figure)
    took = time.monotonic() - began
    if short:
        print(f"All of it works ({took:.0f} s); a run this short judges no figure.")
    else:
        print(report.closing(figures))
        loads = f"was {about['machine']['load_before']} before and is {os.getloadavg()[0]:.2f}"
        print(f"{took:.0f} s; the machine's load {loads}")
    return about | {"seconds": round(took)}, figures


def _keep(name: str, about: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    report.write(FOLDER / f"{name}.json", about, figures)
    try:
        chart.draw(FOLDER / f"{name}.png", figures, f"aka beside what it stands on, {about['date']}")
    except chart.NoChart as none:
        print(f"no chart: {none}")


if __name__ == "__main__":
    main()
