"""grpc.health.v1 over the wire, and what its watchers see when the server stops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.server.addresses import CannotListen
from aka.server.grpc_server import GrpcServer
from aka.server.methods import ADMIN_SERVICE, SERVICE
from tests.grpc.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    frame,
    message,
    peer_of,
    setting,
)
from tests.grpc.frames import call as headers_of
from tests.grpc.wire import Held, Server, serving, wire_to

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

LONG = 600.0
"""A grace that no test waits for."""


@pytest_asyncio.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture
def health(channel: grpc.aio.Channel) -> Any:
    stub: Any = health_pb2_grpc.HealthStub
    return stub(channel)


def request(service: str = SERVICE) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


async def statuses(watch: Any) -> list[int]:
    """Return all that a watcher still sees, up to the end of its stream."""
    seen = []
    with suppress(grpc.aio.AioRpcError):
        while (answer := await watch.read()) is not grpc.aio.EOF:
            seen.append(answer.status)
    return seen


@pytest.mark.parametrize("service", ["", SERVICE, ADMIN_SERVICE])
async def test_a_server_serves_as_a_whole_and_by_its_services(health: Any, service: str) -> None:
    assert (await health.Check(request(service))).status == SERVING


async def test_a_check_of_an_unknown_service_is_not_found(health: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await health.Check(request("nobody.Service"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("service", "status"), [("", SERVING), (SERVICE, SERVING), ("nobody.Service", SERVICE_UNKNOWN)]
)
async def test_a_watcher_is_told_the_status_at_once(health: Any, service: str, status: int) -> None:
    assert (await health.Watch(request(service)).read()).status == status


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_a_watcher_is_told_that_the_server_stops_and_let_go(server: Server, health: Any, service: str) -> None:
    watch = health.Watch(request(service))
    await watch.read()
    stopping = asyncio.ensure_future(server.grpc.stop(LONG))
    assert await statuses(watch) == [NOT_SERVING]
    await stopping


async def test_a_watcher_of_an_unknown_service_is_let_go_when_the_server_stops(server: Server, health: Any) -> None:
    watch = health.Watch(request("nobody.Service"))
    await watch.read()
    await server.grpc.stop(LONG)
    assert await statuses(watch) == []


async def test_every_watcher_is_told_of_the_stop(server: Server, health: Any) -> None:
    watches = [health.Watch(request()) for _ in range(20)]
    for watch in watches:
        await watch.read()
    stopping = asyncio.ensure_future(server.grpc.stop(LONG))
    assert await asyncio.gather(*map(statuses, watches)) == [[NOT_SERVING]] * 20
    await stopping


async def test_a_watcher_is_told_of_the_stop_though_another_has_left(server: Server, health: Any) -> None:
    watch, other = health.Watch(request()), health.Watch(request())
    await watch.read()
    await other.read()
    other.cancel()
    for _ in range(3):  # round trips after which the server knows of it
        await health.Check(request())
    stopping = asyncio.ensure_future(server.grpc.stop(LONG))
    assert await statuses(watch) == [NOT_SERVING]
    await stopping


async def test_a_watcher_that_reads_nothing_does_not_hold_up_the_stop_beyond_the_grace(server: Server) -> None:
    async with peer_of(server.address) as peer:
        await peer.send(
            PREFACE,
            setting(INITIAL_WINDOW_SIZE, 0),
            frame(HEADERS, END_HEADERS, 1, headers_of("", path="/grpc.health.v1.Health/Watch")),
            frame(DATA, END_STREAM, 1, message(request().SerializeToString())),
        )
        await peer.frames(until=HEADERS)
        async with asyncio.timeout(20):
            await server.grpc.stop(0.01)


async def test_a_call_under_way_when_the_server_stops_is_finished(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path / "aka.db", servicer=held.servicer) as server, wire_to(server) as wire:
        call = asyncio.ensure_future(wire("Alias", {"user_id": "u", "alias_id": "a", "create_missing": True}))
        await held.entered.wait()
        stopping = asyncio.ensure_future(server.grpc.stop(LONG))
        held.release.set()
        assert (await call)["outcome"] == "OUTCOME_CREATED"
        await stopping


async def test_a_call_that_begins_after_the_stop_is_not_served(server: Server) -> None:
    await server.grpc.stop(0)
    async with wire_to(server) as wire:
        assert (await wire.refused("Resolve", {"identifiers": [{"id": "u"}]})).code == grpc.StatusCode.UNAVAILABLE


async def test_a_second_server_on_the_same_port_is_refused(server: Server) -> None:
    second = GrpcServer(server.pipeline, server.keys, reflection_needs="off")
    with pytest.raises(CannotListen, match=server.address):
        await second.start(server.address)


async def test_a_second_server_on_the_same_unix_socket_is_refused(server: Server, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'socket'}"
    first, second = (GrpcServer(server.pipeline, server.keys, reflection_needs="off") for _ in range(2))
    await first.start(address)
    with pytest.raises(CannotListen, match=address):
        await second.start(address)
    await first.stop(0)


async def test_a_unix_socket_that_a_killed_server_left_is_taken_over(server: Server, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "socket"))
    next_one = GrpcServer(server.pipeline, server.keys, reflection_needs="off")
    address = f"unix:{tmp_path / 'socket'}"
    assert await next_one.start(address) == address
    await next_one.stop(0)
