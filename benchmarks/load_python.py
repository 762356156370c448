"""The load driver in Python, for a machine that cannot compile the one in C: the same arguments, the same report."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import httpx
import uvloop

AUTHORIZATION: Final = os.environ.get("LOAD_AUTHORIZATION", "")
DIGITS: Final = 8
TIMEOUT: Final = 30.0

Ask: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Makes a call with a body and returns its answer."""


@dataclass(slots=True)
class Load:
    """The arguments, as the head of load.c tells them, and what came of them."""

    path: str
    body: bytes
    seconds: float
    most: int
    first: int
    expected: int
    slack: int
    rate: float
    numbers: list[tuple[int, str, int, int]]
    started: float = 0.0
    begun: int = 0
    counted: list[tuple[float, float]] = field(default_factory=list)
    """When each call ended, or was due where there is a rate, and how long it took."""

    def next_body(self) -> bytes:
        """Return the message of the next call."""
        body = bytearray(self.body)
        for offset, kind, base, step in self.numbers:
            value = base + (random.randrange(step) if kind == "random" else step * (self.first + self.begun))
            body[offset : offset + DIGITS] = b"%08d" % (value % 10**DIGITS)
        self.begun += 1
        return bytes(body)

    def next_begins(self) -> float:
        """Return when the next call begins: now, or when it is due."""
        return self.started + self.begun / self.rate if self.rate else time.monotonic()

    async def call(self, ask: Ask) -> None:
        """Make one call after another."""
        while self.begun < self.most and (began := self.next_begins()) - self.started < self.seconds:
            body = self.next_body()
            if self.rate:
                await asyncio.sleep(began - time.monotonic())
            answer = await ask(body)
            if abs(len(answer) - self.expected) > self.slack:
                raise SystemExit(f"load: {self.path}: a message of {len(answer)} bytes, not of {self.expected}")
            now = time.monotonic()
            self.counted.append(((began if self.rate else now) - self.started, now - began))

    def report(self, warm: float) -> dict[str, float]:
        """Return what was measured."""
        last = max(end for end, _ in self.counted)
        until = self.seconds if self.begun < self.most or last > self.seconds else last
        took = sorted(took for end, took in self.counted if warm <= end <= until)
        if not took:
            raise SystemExit("load: no call was answered in time")
        return {
            "calls": len(self.counted),
            "rate": len(took) / (until - warm),
            "p50": took[len(took) // 2],
            "p99": took[int(len(took) * 0.99)],
            "driver_busy": round(time.process_time() / (time.monotonic() - self.started), 3),
        }


async def run(load: Load, opened: AbstractAsyncContextManager[Sequence[Ask]], warm: float) -> None:
    """Make the calls by callers that are opened, and print the report."""
    try:
        async with opened as callers:
            load.started = time.monotonic()
            await asyncio.gather(*map(load.call, callers))
    except grpc.aio.AioRpcError as error:
        raise SystemExit(f"load: {load.path}: {error.code().name}: {error.details()}") from None
    except httpx.HTTPError as error:
        raise SystemExit(f"load: {load.path}: {error}") from None
    print(json.dumps(load.report(warm)))


@asynccontextmanager
async def grpc_callers(address: str, path: str, callers: int, connections: int) -> AsyncIterator[Sequence[Ask]]:
    """Open connections and return so many callers that share them."""
    options = (("grpc.use_local_subchannel_pool", 1),)  # a connection each, or they would share one
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(connections)]
    asks: list[Any] = [channel.unary_unary(path) for channel in channels]
    metadata = (("authorization", AUTHORIZATION),)
    try:
        yield [partial(asks[caller % connections], metadata=metadata, timeout=TIMEOUT) for caller in range(callers)]
    finally:
        for channel in channels:
            await channel.close()


@asynccontextmanager
async def http_callers(address: str, path: str, callers: int, connections: int) -> AsyncIterator[Sequence[Ask]]:
    """Return so many callers that open a connection each."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    headers = {"authorization": AUTHORIZATION, "content-type": "application/json"}
    async with httpx.AsyncClient(
        base_url=f"http://{address}", headers=headers, limits=limits, timeout=TIMEOUT
    ) as client:

        async def ask(body: bytes) -> bytes:
            answer = await client.post(path, content=body)
            return answer.raise_for_status().content

        yield [ask] * callers


def main(words: list[str]) -> None:
    """Run the load that the words tell."""
    protocol, address, path, file, callers, connections, seconds, warm, most, first, expected, *more = words
    slack, rate, *rest = more
    numbers = [(int(rest[at]), rest[at + 1], int(rest[at + 2]), int(rest[at + 3])) for at in range(0, len(rest), 4)]
    body = Path(file).read_bytes()
    load = Load(path, body, float(seconds), int(most), int(first), int(expected), int(slack), float(rate), numbers)
    opened = grpc_callers if protocol == "grpc" else http_callers
    uvloop.run(run(load, opened(address, path, int(callers), int(connections)), float(warm)))


if __name__ == "__main__":
    main(sys.argv[1:])
