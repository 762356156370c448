"""What a connection may cost: streams, pings, and calls that never go on. (Sizes are in test_grpc_bad_input.)"""

import asyncio
import struct
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from aka.server import grpc_server
from aka.server.grpc_server import (
    CONNECTION_AGE,
    CONNECTION_GRACE,
    LAST_ANSWERS,
    MAX_MESSAGE,
    MAX_METADATA,
    MAX_STREAMS,
)
from tests.docs.pages import read
from tests.grpc.frames import (
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call,
    frame,
    message,
    peer_of,
)
from tests.grpc.wire import Server, Wire, serving

MAX_CONCURRENT_STREAMS: Final = 3
ENHANCE_YOUR_CALM: Final = 11

HELLO: Final = PREFACE + frame(SETTINGS, 0, 0)
LONG: Final = 3600.0


def begun(stream: int) -> bytes:
    """Return a call of which only the head is sent."""
    return frame(HEADERS, END_HEADERS, stream, call("Resolve"))


async def test_a_connection_is_told_how_many_streams_it_may_have(server: Server) -> None:
    async with peer_of(server.address) as peer:
        await peer.send(HELLO)
        (told,) = await peer.frames(until=SETTINGS)
    settings = dict(struct.iter_unpack(">HI", told.payload))
    assert settings[MAX_CONCURRENT_STREAMS] == MAX_STREAMS


async def test_streams_beyond_the_bound_are_refused_and_others_are_served(server: Server, wire: Wire) -> None:
    async with peer_of(server.address) as peer:
        await peer.send(HELLO, *(begun(2 * number + 1) for number in range(MAX_STREAMS + 1)))
        refused = (await peer.frames())[-1]
        assert (refused.kind, refused.stream) == (RST_STREAM, 2 * MAX_STREAMS + 1)
        assert await wire.identify("u")


async def test_a_caller_that_pings_all_the_time_is_sent_away(server: Server) -> None:
    async with peer_of(server.address) as peer:
        await peer.send(HELLO, *(frame(PING, 0, 0, bytes(8)) for _ in range(10)))
        away = (await peer.frames(until=GOAWAY))[-1]
    assert (away.kind, int.from_bytes(away.payload[4:8])) == (GOAWAY, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("sent", [b"", message(b"half", length=8)], ids=["no message", "half a message"])
async def test_a_call_whose_message_never_comes_does_not_hold_up_the_stop(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(grpc_server, "LAST_ANSWERS", 0.1)
    async with peer_of(server.address) as peer:
        await peer.send(HELLO, begun(1), frame(DATA, 0, 1, sent), frame(PING, 0, 0, bytes(8)))
        await peer.frames(until=PING)  # so the server has the call
        await wire.identify("u")
        async with asyncio.timeout(20):
            await server.grpc.stop(LONG)


@pytest.fixture
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connections of servers that are made from now on live for a moment."""
    moment = {"grpc.max_connection_age_ms": 50, "grpc.max_connection_age_grace_ms": 50}
    assert moment.keys() <= dict(grpc_server.OPTIONS).keys()
    monkeypatch.setattr(grpc_server, "OPTIONS", tuple((dict(grpc_server.OPTIONS) | moment).items()))


@pytest.mark.usefixtures("short_lives")
async def test_a_call_whose_message_never_comes_ends_with_its_connection(tmp_path: Path) -> None:
    async with serving(tmp_path / "aka.db") as server, peer_of(server.address) as peer:
        await peer.send(HELLO, begun(1), frame(DATA, 0, 1, message(b"half", length=8)))
        async with asyncio.timeout(20):
            await peer.closed()


@pytest.mark.usefixtures("short_lives")
async def test_callers_notice_nothing_of_the_end_of_a_connection(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "aka.db") as server,
        grpc.aio.insecure_channel(server.address) as channel,
        asyncio.timeout(60),
    ):
        wire = Wire(channel)
        assert await wire.identify("u")
        gone = asyncio.create_task(channel.wait_for_state_change(grpc.ChannelConnectivity.READY))
        while not gone.done():
            assert await wire.identify("u")
        assert await wire.identify("u")


async def test_a_reflection_stream_that_asks_nothing_more_does_not_hold_up_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "LAST_ANSWERS", 0.1)
    async with (
        serving(tmp_path / "aka.db", reflection="on") as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub
        stream = stub(channel).ServerReflectionInfo()
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services="*"))
        assert (await stream.read()).HasField("list_services_response")
        async with asyncio.timeout(20):
            await server.grpc.stop(LONG)


def test_the_bounds_are_those_of_the_page() -> None:
    told = " ".join(read("docs/operations.md").split())
    bounds = (
        f"{MAX_MESSAGE // 1024**2} MiB, its metadata {MAX_METADATA // 1024} KiB, and a connection {MAX_STREAMS} calls"
    )
    assert f"on gRPC a message has at most {bounds} at a time" in told
    assert (
        f"takes calls for about {CONNECTION_AGE // 60} minutes; then those under way have {CONNECTION_GRACE} s" in told
    )
    assert f"have {LAST_ANSWERS:.0f} s |" in told
