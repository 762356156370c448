"""What holds for all tests.

How thorough the property tests are: HYPOTHESIS_PROFILE says, else "ci" where CI=true, else "default".
"""

import os
from contextlib import redirect_stderr

import pytest
from hypothesis import HealthCheck, settings

from aka.server import logs
from tests.privacy import SUITE

_COMMON = settings(
    deadline=None, database=None, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow]
)

settings.register_profile("default", _COMMON, max_examples=150)
settings.register_profile("ci", _COMMON, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "default"))


@pytest.fixture(scope="session", autouse=True)
def logging_all() -> None:
    """Let the servers of this process log all that they can, to be searched at the end for what was sent to them."""
    with redirect_stderr(SUITE):  # type: ignore[type-var]
        logs.set_up("debug", "json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Search the log when all others have run."""
    items.sort(key=lambda item: item.path.name == "test_privacy.py")
