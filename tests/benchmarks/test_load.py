"""The load drivers: the one in C and the one in Python."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from benchmarks.echo import METHOD
from benchmarks.load import Calls, Driver, LoadFailed, Number, driver, mark
from benchmarks.servers import Server

ANSWER: Final = b"answer"


@pytest.fixture(params=["C", "Python"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    """A driver."""
    if request.param == "Python":
        return Driver("Python", (sys.executable, "-m", "benchmarks.load_python"), tmp_path, "key")
    found = driver(tmp_path, "key")
    if not found.name.startswith("C "):
        pytest.skip("needs gcc and libnghttp2: the driver in C is compiled here")
    return found


@contextmanager
def serving(stall: float = 0.0) -> Iterator[tuple[Server, list[bytes]]]:
    """Run a server that answers its first call after `stall` seconds, and keeps what it is sent."""
    sent: list[bytes] = []

    def answer(request: bytes, context: Any) -> bytes:
        sent.append(request)
        if len(sent) == 1:
            threading.Event().wait(stall)
        return ANSWER

    _, service, method = METHOD.split("/")
    server = grpc.server(ThreadPoolExecutor(4))
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {method: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Server(f"127.0.0.1:{port}", os.getpid()), sent
    server.stop(None).wait()


def calls(answer_size: int = len(ANSWER)) -> Calls:
    return Calls(METHOD, StringValue(value=f"id-{mark(0)}"), [Number(base=5, step=2)], answer_size)


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_each_call_has_numbers_of_its_own(load: Driver, rate: float) -> None:
    made = calls()
    with serving() as (server, sent):
        for _ in range(2):
            measured = load.run(server, made, callers=3, seconds=30.0, most=20, rate=rate)
            assert measured.calls == 20
    names = sorted(StringValue.FromString(request).value for request in sent)
    assert names == [f"id-{5 + 2 * call:08}" for call in range(40)]


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_an_answer_of_another_size_fails(load: Driver, rate: float) -> None:
    with serving() as (server, _), pytest.raises(LoadFailed, match="a message of 6 bytes, not of 7"):
        load.run(server, calls(answer_size=7), callers=3, seconds=30.0, most=20, rate=rate)


def test_a_call_that_is_due_while_the_server_stalls_takes_the_time_until_it_is_answered(load: Driver) -> None:
    # While the only caller waits for the first of 30 calls, all others become due: half of them wait 0.15 s or longer.
    with serving(stall=0.3) as (server, _):
        measured = load.run(server, calls(), callers=1, seconds=30.0, most=30, rate=100.0)
    assert measured.calls == 30
    assert measured.p50 >= 0.14
