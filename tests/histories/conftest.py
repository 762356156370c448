"""What was searched, for the long form's end."""

import os
from collections.abc import Callable
from random import Random

import pytest

LONG = os.environ.get("AKA_TEST_LONG") == "1"

_LINES = pytest.StashKey[list[str]]()

Report = Callable[[str], None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(_LINES, [])
    if LONG and lines:
        terminalreporter.section("histories searched")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def long() -> bool:
    """Whether the long form runs."""
    return LONG


@pytest.fixture
def random() -> Random:
    """Chance that differs from run to run; whatever it decides, what was answered must have an order."""
    return Random()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Adds a line to what is shown at the end of the long form."""
    return request.config.stash.setdefault(_LINES, []).append
