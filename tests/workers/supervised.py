"""`aka serve --workers` over a PostgreSQL database of its own, and a look at its processes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.cli.command import PATIENCE, Serving, serving
from tests.postgres.databases import drop_database, fresh_database
from tests.telemetry.scraping import Scrape, metrics_address, scrape

MANY: Final = 24
"""Connections of which each worker gets some, but for one time in millions."""


class Supervised:
    """A supervisor with two workers."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        self._metrics = metrics_address(server.stderr, "workers serve")

    @property
    def pids(self) -> set[int]:
        """The processes that the supervisor has."""
        return children(self.server.process.pid)

    def scrape(self) -> Scrape:
        """Return the metrics of all."""
        return scrape(self._metrics)

    def serving(self) -> set[str]:
        """Return the numbers of the workers that serve."""
        return {worker for worker, serves in self.scrape().labelled("aka_worker_serves", "worker").items() if serves}

    def channel(self) -> grpc.Channel:
        """Return a channel with a connection of its own."""
        return grpc.insecure_channel(self.server.address, [("grpc.use_local_subchannel_pool", 1)])

    def health(self) -> str:
        """Return the health by a connection of its own."""
        with self.channel() as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def get(self, path: str) -> int:
        """Return the status of a REST request on a connection of its own."""
        return httpx.get(f"http://{self.server.rest}{path}", trust_env=False).status_code

    def resolve(self, *ids: str) -> list[bool]:
        """Return which ids are found."""
        identifiers = [{"id": id_} for id_ in ids]
        answer = self.server.call("Resolve", {"identifiers": identifiers})
        return [resolution.get("found", False) for resolution in answer["resolutions"]]


@contextmanager
def supervised(cwd: Path, *arguments: str, settings: dict[str, str] | None = None) -> Iterator[Supervised]:
    """Run two workers while the block runs."""
    database = fresh_database()
    own = {"database_url": database, "rest_address": "127.0.0.1:0", "metrics_address": "127.0.0.1:0"}
    try:
        with serving("--workers", "2", *arguments, cwd=cwd, settings=own | (settings or {})) as server:
            yield Supervised(server)
    finally:
        drop_database(database)


def children(pid: int) -> set[int]:
    """Return a process's children."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    patience = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < patience, "it never was so"
        time.sleep(0.02)
