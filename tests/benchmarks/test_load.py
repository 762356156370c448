"""The load drivers: the one in C and the one in Python."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    return Calls(METHOD, StringValue(value=f"id-{mark(0)}").SerializeToString(), [Number(base=5, step=2)], answer_size)


@contextmanager
def serving_http(status: int = 200) -> Iterator[tuple[Server, list[bytes]]]:
    """Run an HTTP/1.1 server that answers with a status, the head apart from the body, and keeps what it is sent."""
    sent: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionError):  # a driver that fails leaves what it was answered unread
                super().handle()

        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that `server_close` waits until each has closed its connection
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server(f"127.0.0.1:{server.server_port}", os.getpid()), sent
    server.shutdown()
    server.server_close()
    thread.join()


def posts(answer_size: int = len(ANSWER)) -> Calls:
    return Calls("/there", f'"id-{mark(0)}"'.encode(), [Number()], answer_size, protocol="http")


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


def test_each_post_has_numbers_of_its_own(load: Driver) -> None:
    with serving_http() as (server, sent):
        assert load.run(server, posts(), callers=3, seconds=30.0, most=20).calls == 20
    assert sorted(sent) == [f'"id-{call:08}"'.encode() for call in range(20)]


@pytest.mark.parametrize(("status", "answer_size"), [(200, 7), (409, 6)])
def test_a_post_whose_answer_has_another_size_or_status_fails(load: Driver, status: int, answer_size: int) -> None:
    with serving_http(status) as (server, _), pytest.raises(LoadFailed):
        load.run(server, posts(answer_size), callers=3, seconds=30.0, most=20)


@pytest.mark.parametrize(("slack", "fails"), [(1, False), (0, True)])
def test_answers_may_differ_by_the_slack(load: Driver, slack: int, fails: bool) -> None:
    made = calls(answer_size=len(ANSWER) + 1)
    made.slack = slack
    with serving() as (server, _), pytest.raises(LoadFailed) if fails else nullcontext():
        assert load.run(server, made, callers=3, seconds=30.0, most=20).calls == 20
