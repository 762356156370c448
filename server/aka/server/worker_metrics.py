"""A worker's metrics, as it tells them to its supervisor: a line that answers MEASURE."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from prometheus_client.metrics_core import Metric


class _Family(NamedTuple):
    name: str
    told: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


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
