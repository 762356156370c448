"""A server for each test, and both clients of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copyfile

import pytest
import pytest_asyncio

from tests.client.calling import APIS, Calls, Script, client_of
from tests.grpc.conftest import empty_database  # noqa: F401
from tests.grpc.wire import Server, serving


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:  # noqa: F811
    """A database with its first key and nothing else."""
    return Path(copyfile(empty_database, tmp_path / "aka.db"))


@pytest.fixture
def script() -> Script:
    """What `server` is told to refuse, and what it saw."""
    return Script()


@pytest_asyncio.fixture
async def server(database: Path, script: Script) -> AsyncIterator[Server]:
    """A server that does as `script` says."""
    async with serving(database, servicer=script.servicer) as running:
        yield running


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest_asyncio.fixture
async def client(server: Server, api: str) -> AsyncIterator[Calls]:
    """A client that may do everything."""
    async with client_of(api, server.address) as calls:
        yield calls
