"""The balancer of deploy/compose.yaml in front of two servers, one of which goes away."""

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import grpc
import pytest

from aka.server.methods import SERVICE
from tests.cli.command import Serving, call, identify, serving
from tests.deploy.balancer import balancing
from tests.postgres.databases import drop_database, fresh_database
from tests.telemetry.scraping import metrics_address, scrape
from tests.workers.supervised import until

pytestmark = pytest.mark.skipif(
    os.environ.get("AKA_TEST_LONG") != "1", reason="it needs HAProxy, and some time: make test-deploy runs it"
)


@dataclass(frozen=True)
class Balanced:
    """Two servers behind the balancer."""

    servers: list[Serving]
    address: str

    def counted(self) -> list[float]:
        """Return how many Identify each server that runs has answered."""
        return [
            scrape(metrics_address(server.stderr))("aka_call_seconds_count", service=SERVICE, method="Identify")
            for server in self.servers
            if server.process.poll() is None
        ]


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    settings = {
        "database_url": fresh_database(),
        "rest_address": "127.0.0.1:0",
        "metrics_address": "127.0.0.1:0",
        "drain": "5",
    }
    with ExitStack() as stack:
        servers = []
        for name in ("aka-1", "aka-2"):
            (tmp_path / name).mkdir()
            servers.append(stack.enter_context(serving(cwd=tmp_path / name, settings=settings)))
        address = stack.enter_context(balancing(servers, tmp_path))
        until(lambda: reaches(address))
        yield Balanced(servers, address)
    drop_database(settings["database_url"])


def reaches(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            call(channel, "Identify", identify("first"))
        except grpc.RpcError:
            return False
    return True


@contextmanager
def calling(address: str, callers: int = 8) -> Iterator[Callable[[], Counter[str]]]:
    """Call from some callers, each by a connection of its own, while the block runs; yields what came of it so far."""
    stop, ended = Event(), list[str]()

    def caller(number: int) -> None:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            for count in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                try:
                    call(channel, "Identify", identify(f"caller-{number}-{count}"))
                    ended.append("OK")
                except grpc.RpcError as error:
                    ended.append(error.code().name)

    with ThreadPoolExecutor(callers) as pool:
        for number in range(callers):
            pool.submit(caller, number)
        try:
            yield lambda: Counter(ended)
        finally:
            stop.set()


def test_calls_of_one_connection_are_spread(balanced: Balanced) -> None:
    with grpc.insecure_channel(balanced.address) as channel:
        for number in range(40):
            call(channel, "Identify", identify(f"u{number}"))
    assert min(balanced.counted()) > 5


def test_no_call_fails_when_a_server_is_stopped(balanced: Balanced) -> None:
    with calling(balanced.address) as came:
        until(lambda: came()["OK"] > 100)
        assert balanced.servers[0].stop().code == 0
        reached = came()["OK"]
        until(lambda: came()["OK"] > reached + 100)
        assert came().keys() == {"OK"}


def test_calls_go_to_the_other_server_when_one_is_killed(balanced: Balanced) -> None:
    with calling(balanced.address) as came:
        until(lambda: came()["OK"] > 100)
        balanced.servers[0].stop(signal.SIGKILL)
        killed = came()["OK"]
        until(lambda: came()["OK"] > killed + 100)
        reached = came()
        until(lambda: came()["OK"] > reached["OK"] + 200)
        assert reached.keys() <= {"OK", "UNAVAILABLE"}  # those that were under way
        assert (came() - reached).keys() == {"OK"}
