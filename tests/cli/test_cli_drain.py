"""The drain: a server that was told to stop says so, and serves on until load balancers have seen it."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.cli.command import Serving, identify, serving

LONG = "3600"
"""A drain that no test waits for."""

REST = {"rest_address": "127.0.0.1:0"}


def watch(channel: grpc.Channel) -> Iterator[Any]:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answers = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
    return (health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) for answer in answers)


def ready(rest: str) -> int:
    return httpx.get(f"http://{rest}/readyz", trust_env=False).status_code


@pytest.fixture
def draining(tmp_path: Path) -> Iterator[tuple[Serving, Iterator[str]]]:
    """A server that drains, and what a watcher of its health still sees."""
    with (
        serving("--drain", LONG, cwd=tmp_path, settings=REST) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        seen = watch(channel)
        assert (next(seen), ready(server.rest)) == ("SERVING", 200)
        server.process.send_signal(signal.SIGTERM)
        assert next(seen) == "NOT_SERVING"
        yield server, seen


def test_a_draining_server_says_that_it_is_not_ready_and_serves_new_connections(
    draining: tuple[Serving, Iterator[str]],
) -> None:
    server, _ = draining
    assert ready(server.rest) == 503
    assert server.call("Identify", identify("u"))["aliases_processed"] == 1
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert next(watch(channel)) == "NOT_SERVING"


def test_a_second_signal_ends_the_drain_and_lets_the_watchers_go(draining: tuple[Serving, Iterator[str]]) -> None:
    server, seen = draining
    assert (server.stop().code, [*seen]) == (0, [])


def test_a_drain_ends_by_itself(tmp_path: Path) -> None:
    with serving("--drain", "0.1", cwd=tmp_path) as server:
        ended = server.stop()
    assert (ended.code, '"draining"' in ended.err) == (0, True)


def test_a_gateway_drains_too(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(serving(cwd=tmp_path))
        gateway = stack.enter_context(
            serving("--target", server.address, "--drain", LONG, cwd=folder, settings=REST, command="gateway")
        )
        while ready(gateway.rest) != 200:
            pass  # it connects
        gateway.process.send_signal(signal.SIGTERM)
        while ready(gateway.rest) != 503:
            pass  # the signal is on its way
        assert gateway.stop().code == 0
