"""What `make dist` has built."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel."""
    return _built("*.whl")


@pytest.fixture(scope="session")
def sdist() -> Path:
    """The source distribution."""
    return _built("*.tar.gz")


def _built(pattern: str) -> Path:
    found = [*(ROOT / "dist").glob(pattern)]
    if len(found) != 1:
        pytest.fail(f"`make dist` makes one dist/{pattern}; there are {len(found)}")
    return found[0]
