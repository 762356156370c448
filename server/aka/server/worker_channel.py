"""What a supervisor and its worker say to each other, line by line, over the socket that is the worker's stdin.

The supervisor says DRAIN and MEASURE. The worker's first line says that it serves; each further one answers MEASURE.
Where the supervisor closes the channel, or is gone, the worker stops.
"""

from typing import Final, NamedTuple

import msgspec

DRAIN: Final = b"drain\n"
MEASURE: Final = b"measure\n"

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes: no worker has so many metrics."""


class Served(NamedTuple):
    """A server that serves."""

    grpc: str
    """Where; the port is the one that was picked."""
    rest: str
    """`-` where there is no gateway."""
    metrics: str
    """`-` where there are none."""
    key: str
    """Shell words that stand for an API key."""


def write_served(served: Served) -> bytes:
    """Return a worker's first line."""
    return msgspec.json.encode(served) + b"\n"


def read_served(line: bytes) -> Served:
    """Return what a worker's first line says."""
    return msgspec.json.decode(line, type=Served)
