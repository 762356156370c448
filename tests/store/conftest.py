"""Every backend, one after the other, for the suite that holds them to the promises of `Store`."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aka.server.store.store import Store
from tests.store.backends import BACKENDS, Backend
from tests.store.clock import Clock
from tests.store.tenant import Tenant


@pytest.fixture(params=sorted(BACKENDS))
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """A backend with an empty store, whose integrity is checked after the test."""
    backend = await BACKENDS[request.param](tmp_path)
    yield backend
    faults = await backend.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
async def store(backend: Backend) -> Store:
    """An empty store."""
    return backend.store


@pytest.fixture
async def tenant(backend: Backend) -> Tenant:
    """A workspace of the store."""
    return Tenant(backend.store, await backend.add_workspace("acme"))


@pytest.fixture
async def other_tenant(backend: Backend) -> Tenant:
    """Another workspace of the same store."""
    return Tenant(backend.store, await backend.add_workspace("umbrella"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that stores read, in a test's hands."""
    clock = Clock(time.time_ns() // 1000)
    monkeypatch.setattr(time, "time_ns", clock.time_ns)
    return clock
