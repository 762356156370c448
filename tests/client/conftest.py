"""One server for many tests, each in a workspace of its own, and both clients of it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from shutil import copyfile
from threading import Thread

import pytest
import pytest_asyncio

from aka.server.keys import PERMISSIONS
from tests.client.calling import Script, client_of
from tests.client.calls import APIS, Calls, Workspace
from tests.grpc.conftest import empty_database  # noqa: F401
from tests.grpc.wire import Server, serving


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:  # noqa: F811
    """A database with its first key and nothing else."""
    return Path(copyfile(empty_database, tmp_path / "aka.db"))


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Script]]:
    """A server that runs on, in a thread and an event loop of its own, and what it does as told."""
    script = Script()
    started: Future[tuple[Server, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with serving(tmp_path_factory.mktemp("client") / "aka.db", servicer=script.servicer) as server:
            started.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    server, loop, stop = started.result(60)
    yield server, script
    loop.call_soon_threadsafe(stop.set)
    thread.join()


@pytest.fixture
def script(scripted: tuple[Server, Script]) -> Script:
    """What `server` is told to refuse, and what it saw."""
    scripted[1].forget()
    return scripted[1]


@pytest.fixture
def server(scripted: tuple[Server, Script], script: Script) -> Workspace:
    """An empty workspace of a server that does as `script` says."""
    running = scripted[0]
    return Workspace(running.address, running.add_key(*PERMISSIONS, workspace=str(uuid.uuid4())))


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest_asyncio.fixture
async def client(server: Workspace, api: str) -> AsyncIterator[Calls]:
    """A client that may do everything."""
    async with client_of(api, server) as calls:
        yield calls
