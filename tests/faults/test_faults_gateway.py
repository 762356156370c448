"""The connection of a gateway to its server goes silent: packets are lost, and nobody says that it has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.command import KEY, serving
from tests.privacy import SUITE


class Relay:
    """Passes bytes on between callers and an address, until it loses them."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._passing: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen while the block runs; yields the address."""
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as listening:
            host, port = listening.sockets[0].getsockname()
            try:
                yield f"{host}:{port}"
            finally:
                self.lose()
                for writer in self._writers:
                    writer.close()

    def lose(self) -> None:
        """Lose what comes over the connections that there are, which stay open."""
        for passing in self._passing:
            passing.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, server_writer]
        for source, target in ((reader, server_writer), (server_reader, writer)):
            self._passing.append(asyncio.create_task(_pass(source, target)))


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)


@pytest.mark.timeout(300)
async def test_a_gateway_whose_connection_goes_silent_makes_another(tmp_path: Path, long: bool) -> None:
    if not long:
        pytest.skip("a gateway takes 25 s to notice")
    folder, sent = tmp_path / "gateway", {"distinct_id": "user_123"}
    folder.mkdir()
    SUITE.send(sent, KEY)
    with serving(cwd=tmp_path) as server:
        relay = Relay(server.address)
        async with relay.listening() as target, httpx.AsyncClient(trust_env=False, timeout=60) as client:
            given = {"rest_address": "127.0.0.1:0"}
            with serving("--target", target, cwd=folder, settings=given, command="gateway") as gateway:
                url = f"http://{gateway.rest}/identify"
                statuses = []
                for lost in (False, True, False):
                    if lost:
                        relay.lose()
                    statuses.append((await client.post(url, json=sent, headers={"x-api-key": KEY})).status_code)
                assert statuses == [200, 503, 200]
