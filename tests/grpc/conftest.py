"""One server a test, over a database of its own that must be sound afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from aka.server.store.sqlite_check import check_file
from tests.grpc.wire import Server, Wire, serving, wire_to


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server without a rate limit; its database has no fault when it is closed."""
    async with serving(tmp_path / "aka.db") as running:
        yield running
    assert check_file(str(tmp_path / "aka.db")).faults == []


@pytest_asyncio.fixture
async def wire(server: Server) -> AsyncIterator[Wire]:
    """A client of `server` with a key that may do everything."""
    async with wire_to(server) as client:
        yield client
