"""Where the gateway listens, and how it stops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aka.server.addresses import CannotListen
from aka.server.rest_server import RestServer

Start = Callable[[str], Awaitable[tuple[RestServer, str]]]


class Slow:
    """An application whose only answer waits until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        self.entered.set()
        await self.release.wait()
        return Response("done")


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest_asyncio.fixture
async def start(slow: Slow) -> AsyncIterator[Start]:
    """Start servers of `slow`, stopped at the end."""
    started = []

    async def start_one(address: str) -> tuple[RestServer, str]:
        server = RestServer(Starlette(routes=[Route("/", slow.answer)]))
        bound = await server.start(address)
        started.append(server)
        return server, bound

    yield start_one
    slow.release.set()
    for server in started:
        await server.stop(1)


def client(address: str) -> httpx.AsyncClient:
    if address.startswith("unix:"):
        transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
        return httpx.AsyncClient(transport=transport, base_url="http://aka", trust_env=False)
    return httpx.AsyncClient(base_url=f"http://{address}", trust_env=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_port_0_picks_one_and_the_answer_says_which(start: Start, slow: Slow, host: str) -> None:
    slow.release.set()
    _, bound = await start(f"{host}:0")
    async with client(bound) as connected:
        assert (await connected.get("/")).text == "done"


async def test_a_unix_socket_is_listened_on(start: Start, slow: Slow, tmp_path: Path) -> None:
    slow.release.set()
    _, bound = await start(f"unix:{tmp_path}/rest.sock")
    assert bound == f"unix:{tmp_path}/rest.sock"
    async with client(bound) as connected:
        assert (await connected.get("/")).text == "done"


async def test_a_unix_socket_that_was_left_behind_is_replaced(start: Start, slow: Slow, tmp_path: Path) -> None:
    slow.release.set()
    with closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(f"{tmp_path}/rest.sock")
    _, bound = await start(f"unix:{tmp_path}/rest.sock")
    async with client(bound) as connected:
        assert (await connected.get("/")).text == "done"


async def test_a_unix_socket_in_use_is_not_taken_away(start: Start, tmp_path: Path) -> None:
    await start(f"unix:{tmp_path}/rest.sock")
    with pytest.raises(CannotListen, match="in use"):
        await start(f"unix:{tmp_path}/rest.sock")


async def test_a_port_in_use_cannot_be_listened_on(start: Start) -> None:
    _, bound = await start("127.0.0.1:0")
    with pytest.raises(CannotListen, match=f"^cannot listen on {bound}: Address already in use$"):
        await start(bound)


@pytest.mark.parametrize("address", ["192.0.2.1:0", "no.such.host.invalid:0", "unix:/no/such/directory/rest.sock"])
async def test_what_cannot_be_listened_on_is_one_line(start: Start, address: str) -> None:
    with pytest.raises(CannotListen) as refused:
        await start(address)
    assert str(refused.value).startswith(f"cannot listen on {address}: ")
    assert "\n" not in str(refused.value)


async def test_a_request_under_way_is_finished_when_the_server_stops(start: Start, slow: Slow) -> None:
    server, bound = await start("127.0.0.1:0")
    async with client(bound) as connected:
        asked = asyncio.create_task(connected.get("/"))
        await slow.entered.wait()
        stopping = asyncio.create_task(server.stop(30))
        slow.release.set()
        assert (await asked).text == "done"
        await stopping


async def test_a_stopped_server_takes_no_more_connections(start: Start) -> None:
    server, bound = await start("127.0.0.1:0")
    await server.stop(1)
    async with client(bound) as connected:
        with pytest.raises(httpx.ConnectError):
            await connected.get("/")


async def test_a_server_may_be_stopped_twice_or_before_it_started(start: Start) -> None:
    await RestServer(Starlette()).stop(1)
    server, _ = await start("127.0.0.1:0")
    await server.stop(1)
    await server.stop(1)
