"""Load: calls from many callers at once, over gRPC or HTTP/1.1, made by a driver in a process of its own.

The driver is written in C on libnghttp2, so that it takes little of the processor beside the server, and is compiled
when a run begins. Where gcc or libnghttp2 is not there a driver in Python takes its place, which uses more of the
processor than the servers do and so draws the ratios together.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Literal

from benchmarks.servers import Server

CONNECTIONS: Final = 4
"""The callers share this many connections, where a row does not say otherwise."""

_files = count()


class LoadFailed(Exception):
    """A call was not answered as it should be, or the driver could not run."""


@dataclass(frozen=True, slots=True)
class Number:
    """Eight digits that differ from call to call: `base + step * i` in call `i`, or random below `base + below`."""

    base: int = 0
    step: int = 1
    below: int | None = None

    def words(self, offset: int) -> list[str]:
        """Write it for the driver."""
        if self.below is None:
            return [str(offset), "count", str(self.base), str(self.step)]
        return [str(offset), "random", str(self.base), str(self.below)]


def mark(place: int) -> str:
    """Return what stands in a message for its number at `place`, anew wherever it stands if that is random."""
    return f"#{place:07}"


@dataclass(slots=True)
class Calls:
    """One kind of call: its path, its message with marks for numbers, and the size that its answer must have."""

    path: str
    body: bytes
    numbers: Sequence[Number]
    answer_size: int
    slack: int = 0
    """Bytes by which answers differ, where they bear times."""
    items: int = 1
    """How many things each does, where these are what is counted."""
    protocol: Literal["grpc", "http"] = "grpc"
    made: int = 0
    """How many were made, so that the next one's numbers are new."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of the driver measured."""

    calls: int
    rate: float
    """Calls answered a second."""
    p50: float
    """Seconds."""
    p99: float
    driver_busy: float
    """The driver's share of one processor."""
    server_cpu: float
    """Seconds of processor time that the server used a call."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver that is ready to run."""

    name: str
    command: tuple[str, ...]
    folder: Path
    key: str = field(repr=False)

    def run(
        self,
        server: Server,
        calls: Calls,
        *,
        callers: int,
        seconds: float,
        warm: float = 0.0,
        most: int = 2_000_000,
        connections: int = CONNECTIONS,
        rate: float = 0.0,
        awake: bool = False,
    ) -> Measured:
        """Make calls for `seconds`, at most `most`, and measure those after the first `warm` seconds.

        With a `rate` so many are due a second, and each one's time counts from then; else a caller makes its next call
        when its last one was answered, and does not sleep meanwhile if it is `awake` and alone. The callers share the
        connections; over HTTP/1.1 each has its own. Raises LoadFailed where one is not answered with OK and a message
        of the size that is expected.
        """
        words = _words(calls)
        file = self.folder / f"body-{next(_files)}"
        file.write_bytes(calls.body)
        connections = callers if calls.protocol == "http" else min(callers, connections)
        command = [*self.command, calls.protocol, server.address, calls.path, str(file), str(callers), str(connections)]
        command += [str(seconds), str(warm), str(most), str(calls.made), str(calls.answer_size), str(calls.slack)]
        command += [str(rate), *words]
        environment = {**os.environ, "LOAD_AUTHORIZATION": f"Bearer {self.key}"}
        if awake:
            environment["LOAD_AWAKE"] = "1"
        before = server.cpu()
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds + 60)
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"{calls.path}: the driver did not end") from None
        cpu = server.cpu() - before
        file.unlink()
        if done.returncode != 0:
            raise LoadFailed(f"{calls.path}, {callers} callers: {done.stderr.strip()}")
        measured = json.loads(done.stdout)
        calls.made += measured["calls"]
        return Measured(**measured, server_cpu=cpu / measured["calls"])


def driver(folder: Path, key: str) -> Driver:
    """Compile the C driver into `folder`, or fall back to the one in Python."""
    source, binary = Path(__file__).with_name("load.c"), folder / "load"
    flags = _nghttp2_flags()
    if flags is not None and shutil.which("gcc"):
        subprocess.run(["gcc", "-O2", str(source), "-o", str(binary), *flags], check=True)
        return Driver("C on libnghttp2", (str(binary),), folder, key)
    python = (sys.executable, "-m", "benchmarks.load_python")
    return Driver("Python (no gcc or no libnghttp2): the driver holds the servers up", python, folder, key)


def _nghttp2_flags() -> Sequence[str] | None:
    if not shutil.which("pkg-config"):
        return None
    asked = subprocess.run(["pkg-config", "--cflags", "--libs", "libnghttp2"], capture_output=True, text=True)
    return asked.stdout.split() if asked.returncode == 0 else None


def _words(calls: Calls) -> list[str]:
    """Return where the driver finds a call's numbers in its body."""
    words: list[str] = []
    places: Mapping[bytes, Number] = {mark(place).encode(): number for place, number in enumerate(calls.numbers)}
    for text, number in places.items():
        offset = calls.body.find(text)
        if offset < 0:
            raise ValueError(f"{calls.path}: the message has no {text!r}")
        while offset >= 0:
            words += number.words(offset)
            offset = calls.body.find(text, offset + 1)
    return words
