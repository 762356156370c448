"""What holds for all tests.

How thorough the property tests are: HYPOTHESIS_PROFILE says, else "ci" where CI=true, else "default".
"""

import os
from collections.abc import Iterator
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
def nothing_sent_is_logged() -> Iterator[None]:
    """Let the servers of this process log all that they can, and search it at the end for what was sent to them.

    (Not a test: where tests are run by several processes, each searches its own servers' log.)
    """
    with redirect_stderr(SUITE):  # type: ignore[type-var]
        logs.set_up("debug", "json")
    yield
    assert SUITE.lines or not SUITE.sent, "the servers of this process logged nothing"
    assert not SUITE.leaks(), "values that the tests sent are in what the servers logged"
