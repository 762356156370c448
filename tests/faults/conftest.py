"""The long form, and the table of faults that it ends with."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults.history import End, History, Kind
from tests.faults.server import Server

LONG = os.environ.get("AKA_TEST_LONG") == "1"

_ROWS = pytest.StashKey[list[tuple[str, ...]]]()
_HEAD = (
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
)

Report = Callable[[str, History], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_ROWS, [])
    if not (LONG and rows):
        return
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    terminalreporter.section("faults injected")
    for row in [_HEAD, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        terminalreporter.write_line("  ".join(cells))


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

    def add(fault: str, history: History) -> None:
        wrong = (history.wrong(kind) for kind in (Kind.LOST, Kind.DOUBLED, Kind.REFUSED_DONE, Kind.TORN))
        ended = len(history.calls), history.ended(End.ACKNOWLEDGED), history.ended(End.UNKNOWN)
        numbers = (str(number) for number in (history.injected, *ended, *wrong))
        rows.append((fault, *numbers, f"{history.failed_for():.2f} s"))

    return add
