"""The long form, and the table of faults that it ends with, for the terminal and for docs/operations.md."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Protocol

import pytest

from tests.faults.history import End, History, Kind
from tests.faults.server import Server

LONG = os.environ.get("AKA_TEST_LONG") == "1"

_ROWS = pytest.StashKey[list[tuple[str, ...]]]()
_HEAD = (
    "store",
    "fault",
    "injected",
    "calls",
    "acknowledged",
    "unknown",
    "lost",
    "doubled",
    "refused but done",
    "half done",
    "failed for",
    "with",
)
_PAGE = "docs/operations.md"
_SECTION = "## Faults, injected"


class Report(Protocol):
    """Adds what came of a fault to the table."""

    def __call__(self, fault: str, history: History, store: str = "SQLite") -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-faults", action="store_true", help=f"put the table of faults into {_PAGE}")


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    rows: list[tuple[str, ...]] = config.stash.get(_ROWS, [])
    rows = [_HEAD, *sorted(rows, key=lambda row: row[0], reverse=True)]
    if not LONG or len(rows) == 1:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    terminalreporter.section("faults injected")
    for row in rows:
        texts = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:-1], strict=True)]
        terminalreporter.write_line("  ".join([*texts, *numbers, row[-1]]))
    if config.getoption("--write-faults") and exitstatus == pytest.ExitCode.OK:
        _write(config.rootpath / _PAGE, rows)


def _write(page: Path, rows: Sequence[Sequence[str]]) -> None:
    """Put the table in the place of the one that the page has."""
    head, *others = [f"| {' | '.join(row)} |" for row in rows]
    table = "\n".join([head, f"|{'---|' * len(_HEAD)}", *others])
    text = page.read_text(encoding="utf-8")
    before, heading, section = text.partition(_SECTION)
    section, count = re.subn(r"(?m)(^\|.*\n)+", table.replace("\\", r"\\") + "\n", section, count=1)
    assert heading and count, f"{page} has no table under {_SECTION!r}"
    page.write_text(before + heading + section, encoding="utf-8")


@pytest.fixture
def long() -> bool:
    """Whether the long form runs: more of each fault, and more load."""
    return LONG


@pytest.fixture
def random() -> Random:
    """Chance that differs from run to run; what it decided does not matter to what must hold."""
    return Random()


@pytest.fixture
def history() -> History:
    """An empty history."""
    return History()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server that was not started yet, over a file on disk."""
    return Server(tmp_path)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Adds a fault to the table."""
    rows = request.config.stash.setdefault(_ROWS, [])

    def add(fault: str, history: History, store: str = "SQLite") -> None:
        wrong = (history.wrong(kind) for kind in (Kind.LOST, Kind.DOUBLED, Kind.REFUSED_DONE, Kind.TORN))
        ended = len(history.calls), history.ended(End.ACKNOWLEDGED), history.ended(End.UNKNOWN)
        numbers = (str(number) for number in (history.injected, *ended, *wrong))
        reasons = ", ".join(f"{reason} {number}" for reason, number in history.reasons().most_common()) or "-"
        rows.append((store, fault, *numbers, f"{history.failed_for():.2f} s", reasons))

    return add
