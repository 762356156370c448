"""A world for each of the domain's tests."""

import pytest

from tests.domain.world import World


@pytest.fixture
def world() -> World:
    """Return a world without profiles."""
    return World()
