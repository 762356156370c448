"""The load driver in Python, for a machine that cannot compile the one in C: the same arguments, the same report."""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvloop

DIGITS = 8


@dataclass(slots=True)
class Load:
    """The arguments, as the head of load.c tells them, and what came of them."""

    method: str
    body: bytes
    seconds: float
    most: int
    first: int
    expected: int
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

    async def call(self, stub: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        """Make one call after another."""
        while self.begun < self.most and (began := self.next_begins()) - self.started < self.seconds:
            body = self.next_body()
            if self.rate:
                await asyncio.sleep(began - time.monotonic())
            answer = await stub(body, metadata=metadata, timeout=self.seconds + 20)
            if len(answer) != self.expected:
                raise SystemExit(f"load: {self.method}: a message of {len(answer)} bytes, not of {self.expected}")
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


async def run(address: str, load: Load, callers: int, connections: int, warm: float) -> None:
    """Make the calls and print the report."""
    options = (("grpc.use_local_subchannel_pool", 1),)  # a connection each, or they would share one
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(connections)]
    metadata = (("authorization", os.environ.get("LOAD_AUTHORIZATION", "")),)
    stubs: list[Any] = [channel.unary_unary(load.method) for channel in channels]
    load.started = time.monotonic()
    try:
        await asyncio.gather(*(load.call(stubs[caller % connections], metadata) for caller in range(callers)))
    except grpc.aio.AioRpcError as error:
        raise SystemExit(f"load: {load.method}: {error.code().name}: {error.details()}") from None
    for channel in channels:
        await channel.close()
    print(json.dumps(load.report(warm)))


def main(words: list[str]) -> None:
    """Run the load that the words tell."""
    address, method, file, callers, connections, seconds, warm, most, first, expected, rate, *rest = words
    numbers = [(int(rest[at]), rest[at + 1], int(rest[at + 2]), int(rest[at + 3])) for at in range(0, len(rest), 4)]
    body = Path(file).read_bytes()
    load = Load(method, body, float(seconds), int(most), int(first), int(expected), float(rate), numbers)
    uvloop.run(run(address, load, int(callers), int(connections), float(warm)))


if __name__ == "__main__":
    main(sys.argv[1:])
