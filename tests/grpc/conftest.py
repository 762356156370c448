"""One server a test, over a database of its own that must be sound afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copyfile
from threading import Thread

import pytest
import pytest_asyncio

from aka.server.store.sqlite_check import check_file
from tests.grpc.wire import Server, Wire, serving, wire_to


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its first key and nothing else, to be copied: that is quicker than to make one."""
    path = tmp_path_factory.mktemp("empty") / "aka.db"

    async def make() -> None:
        async with serving(path):
            pass

    thread = Thread(target=asyncio.run, args=(make(),))  # where no other loop is
    thread.start()
    thread.join()
    return path


@pytest_asyncio.fixture
async def server(tmp_path: Path, empty_database: Path) -> AsyncIterator[Server]:
    """A server without a rate limit; its database has no fault when it is closed."""
    copyfile(empty_database, tmp_path / "aka.db")
    async with serving(tmp_path / "aka.db") as running:
        yield running
    assert check_file(str(tmp_path / "aka.db")).faults == []


@pytest_asyncio.fixture
async def wire(server: Server) -> AsyncIterator[Wire]:
    """A client of `server` with a key that may do everything."""
    async with wire_to(server) as client:
        yield client
