"""What aka counts while it serves: plain numbers, which each part keeps for itself and metrics_server.py shows."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of times."""
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Those of group sizes."""


class Histogram:
    """How many values fell into each bucket, and their sum. (A list and not a library's: every call passes it.)"""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        """The buckets' upper bounds, which belong to them; beyond the last there is one more bucket."""
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Phase(NamedTuple):
    """A part of a group's way through the store, on time.perf_counter()'s clock."""

    name: str
    began: float
    ended: float


class Outcomes:
    """How the calls of an RPC, or the requests at an endpoint, ended."""

    __slots__ = ("codes", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = defaultdict(int)
        """How many with each status."""
        self.seconds = Histogram(SECONDS)
        """How long they took."""

    def count(self, code: int, seconds: float) -> None:
        """Count one that has ended."""
        self.codes[code] += 1
        self.seconds.observe(seconds)


class CallMetrics(NamedTuple):
    """The calls that went through the pipeline."""

    methods: Mapping[tuple[str, str], Outcomes]
    """By service and method."""
    refusals: dict[int, int]
    """How many calls, and items of batches, were refused for each reason."""


class HttpMetrics:
    """The requests that the REST gateway answered."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Outcomes] = defaultdict(Outcomes)
        """By path; requests to no path of the gateway's are at `other`."""


class QueueMetrics(NamedTuple):
    """What waits for one connection to the store, and the groups that were made of it."""

    waiting: int
    group_sizes: Histogram
    retries: int
    """Pieces of work that ran again, alone, since their group had failed."""


class CacheMetrics(NamedTuple):
    """The keys whose profile was to be told, and those of them that were in memory."""

    hits: int
    misses: int
    size: int
    """Keys that are in memory now."""


class StoreMetrics(NamedTuple):
    """What a store did so far, and how large it is."""

    queues: Mapping[str, QueueMetrics]
    commits: Histogram
    """Seconds that commits took, synced."""
    changes: Mapping[str, int]
    """How many changes of each kind were committed."""
    sizes: Mapping[str, int]
    """Bytes of each file."""
    resolutions: CacheMetrics | None
    """None where none are kept."""
