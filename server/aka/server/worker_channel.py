"""What a supervisor and its worker say to each other, line by line, over the socket that is the worker's stdin.

The supervisor says DRAIN and MEASURE. The worker's first line says that it serves; each further one answers MEASURE.
Where the supervisor closes the channel, or is gone, the worker stops.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from prometheus_client.metrics_core import Metric

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


class _Family(NamedTuple):
    name: str
    told: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


def write_served(served: Served) -> bytes:
    """Return a worker's first line."""
    return msgspec.json.encode(served) + b"\n"


def read_served(line: bytes) -> Served:
    """Return what a worker's first line says."""
    return msgspec.json.decode(line, type=Served)


def write_metrics(metrics: Iterable[Metric]) -> bytes:
    """Return the line that answers MEASURE."""
    families = [
        _Family(metric.name, metric.documentation, metric.type, [sample[:3] for sample in metric.samples])
        for metric in metrics
    ]
    return msgspec.json.encode(families) + b"\n"


def read_metrics(lines: Mapping[str, bytes]) -> list[Metric]:
    """Return the metrics of several workers' answers as one set of them, with the worker as a label."""
    found: dict[str, Metric] = {}
    for worker, line in lines.items():
        for name, told, kind, samples in msgspec.json.decode(line, type=list[_Family]):
            metric = found.setdefault(name, Metric(name, told, kind))
            for sample, labels, value in samples:
                metric.add_sample(sample, {"worker": worker, **labels}, value)
    return list(found.values())
