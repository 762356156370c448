"""Somebody who asks a server all the time whether it is well, and whether it keeps the deadlines that it is given."""

import asyncio
import time
from contextlib import suppress
from itertools import cycle
from typing import Any, Final, Self

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.faults.load import KEY
from tests.faults.server import Server

WITHIN: Final = 1.0
"""Seconds that the server is given for each call that asks about deadlines."""

_OFTEN: Final = 0.1
_CALLS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("Resolve", {"identifiers": [{"id": "nobody"}]}),
    ("Alias", {"userId": "watched", "aliasId": "watched-too", "createMissing": True, "validateOnly": True}),
)
"""They write nothing, and wait for the same as others."""


class Watch:
    """What a server answers over gRPC and REST, from the block's begin to its end."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.health: list[str] = ["SERVING"]
        """What `Health/Watch` told, one after the other."""
        self.ready: list[int] = [200]
        """What `GET /readyz` answered, without repetitions."""
        self.longest = 0.0
        """The longest that the server took for a call that was to take `WITHIN`, which nobody but itself sees to; less
        what this process was late."""
        self._late = 0.0
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks += [
            asyncio.create_task(work) for work in (self._health(), self._ready(), self._deadlines(), self._lateness())
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        if bugs := [error for error in ended if not isinstance(error, asyncio.CancelledError)]:
            raise AssertionError(f"the watch ended: {bugs}")

    async def well_again(self) -> None:
        """Wait until the server says that it is well, over gRPC and REST."""
        while (self.health[-1], self.ready[-1]) != ("SERVING", 200):
            self._told.clear()
            await self._told.wait()

    @property
    def said_so(self) -> bool:
        """Whether the server said, over gRPC and REST, that it was not well."""
        return "NOT_SERVING" in self.health and 503 in self.ready

    async def _health(self) -> None:
        while True:
            async with grpc.aio.insecure_channel(self._server.address) as channel:
                watching: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
                with suppress(grpc.aio.AioRpcError):
                    async for answer in watching:
                        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
                        if status != self.health[-1]:
                            self.health.append(status)
                            self._told.set()
            await asyncio.sleep(_OFTEN)

    async def _ready(self) -> None:
        while True:
            async with _client(self._server) as client:
                with suppress(httpx.TransportError):
                    while True:
                        status = (await client.get("/readyz")).status_code
                        if status != self.ready[-1]:
                            self.ready.append(status)
                            self._told.set()
                        await asyncio.sleep(_OFTEN)
            await asyncio.sleep(_OFTEN)

    async def _deadlines(self) -> None:
        headers = {
            "authorization": f"Bearer {KEY}",
            "connect-protocol-version": "1",
            "connect-timeout-ms": str(int(WITHIN * 1000)),
        }
        for method, body in cycle(_CALLS):
            async with _client(self._server) as client:
                began, late = time.monotonic(), self._late
                with suppress(httpx.TransportError):
                    await client.post(f"/aka.v1.AliasService/{method}", json=body, headers=headers)
                    took = time.monotonic() - began - (self._late - late)
                    self.longest = max(self.longest, took)
            await asyncio.sleep(_OFTEN)

    async def _lateness(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(_OFTEN)
            self._late += time.monotonic() - began - _OFTEN


def _client(server: Server) -> httpx.AsyncClient:
    path = server.rest.removeprefix("unix:") if server.rest.startswith("unix:") else None
    base = "http://aka" if path else f"http://{server.rest}"
    return httpx.AsyncClient(base_url=base, transport=httpx.AsyncHTTPTransport(uds=path), timeout=60)
