"""Measure aka beside what its transport and its database allow: `python -m benchmarks [--rows 1,2] [--short]`.

Prints a table. A full run of all rows writes results.json and results.png beside this file; --short runs a few hundred
calls a row to see that all works, and judges no figure. Exits with 0 also where floors fall short, with 1 where
something could not be measured.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from aka.server.keys import new_secret
from benchmarks import chart, load, machine, report
from benchmarks.bench import Bench
from benchmarks.load import LoadFailed
from benchmarks.rounds import FULL, SHORT, Figure
from benchmarks.rows import ROWS
from benchmarks.servers import ServerFailed

FOLDER: Final = Path(__file__).resolve().parent


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure aka's figures.")
    parser.add_argument("--rows", metavar="1,2", default=",".join(ROWS), help="the rows to measure (default: all)")
    parser.add_argument("--short", action="store_true", help="a few hundred calls a row, to see that all works")
    arguments = parser.parse_args()
    rows = arguments.rows.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    try:
        _run(rows, short=arguments.short)
    except (LoadFailed, ServerFailed, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"benchmarks: {error}")


def _run(rows: list[str], *, short: bool) -> None:
    began = time.monotonic()
    disk = machine.disk_folder()
    with tempfile.TemporaryDirectory(prefix="aka-bench-", dir=disk) as folder:
        driver = load.driver(Path(folder), new_secret())
        about = machine.described(disk) | {"driver": driver.name}
        print(f"driver: {driver.name}; databases on {about['machine']['file_system']} in {folder}\n{report.HEAD}")
        figures: list[Figure] = []
        for row in rows:
            for figure in ROWS[row](Bench(driver, Path(folder), SHORT if short else FULL)):
                print(report.line(figure, judged=not short), flush=True)
                figures.append(figure)
    took = time.monotonic() - began
    if short:
        print(f"All of it works ({took:.0f} s); a run this short judges no figure.")
        return
    print(report.closing(figures))
    print(
        f"{took:.0f} s; the machine's load was {about['machine']['load_before']} before and is {os.getloadavg()[0]:.2f}"
    )
    if set(rows) == set(ROWS):
        _keep(about | {"seconds": round(took)}, figures)


def _keep(about: dict[str, object], figures: list[Figure]) -> None:
    report.write(FOLDER / "results.json", about, figures)
    try:
        chart.draw(FOLDER / "results.png", figures, f"aka beside what it stands on, {about['date']}")
    except chart.NoChart as none:
        print(f"no chart: {none}")


if __name__ == "__main__":
    main()
