"""What a connection of the REST port may cost: bounds of size, time and number, over bare sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
import pytest_asyncio
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from aka.server import rest_connection, rest_server
from aka.server.gateway import body
from aka.server.rest_connection import MAX_HEAD, MAX_HEADERS
from aka.server.rest_server import RestServer
from tests.docs.pages import table

GET: Final = b"GET / HTTP/1.1\r\nhost: aka\r\n"
POST: Final = b"POST /body HTTP/1.1\r\nhost: aka\r\n"
CHUNKED: Final = POST + b"transfer-encoding: chunked\r\n\r\n"
END: Final = b"\r\n"

PATIENCE: Final = 20.0


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            with suppress(ConnectionError):
                self.writer.write(part)
                await self.writer.drain()

    async def status(self) -> int:
        """Return the status of the next answer, which is read whole."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            await self.reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            return int(head.split()[1])

    async def closed(self) -> bool:
        """Wait until the server hangs up; whether it did so without another word."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                return await self.reader.read() == b""
            return True


class Application:
    """Answers, reads bodies, or waits, by the path."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.ended = asyncio.Event()
        self.cut_off = 0

    async def at_once(self, request: Request) -> Response:
        return PlainTextResponse("here")

    async def body(self, request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await request.body())))
        except ClientDisconnect:
            self.cut_off += 1
            return PlainTextResponse("cut off", 400)

    async def wait(self, request: Request) -> Response:
        await self.let_go.wait()
        return PlainTextResponse("at last")

    async def without_end(self, request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 100_000
                    await asyncio.sleep(0)
            finally:
                self.ended.set()

        return StreamingResponse(content())


@pytest.fixture
def application() -> Application:
    return Application()


Connect = Callable[[], Awaitable[Caller]]


@asynccontextmanager
async def serving(application: Application) -> AsyncIterator[Connect]:
    """Serve; yields what connects to the server."""
    routes = [
        Route("/", application.at_once),
        Route("/body", application.body, methods=["POST"]),
        Route("/unread", application.at_once, methods=["POST"]),
        Route("/wait", application.wait),
        Route("/without-end", application.without_end),
    ]
    server = RestServer(Starlette(routes=routes))
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    callers = []

    async def connect() -> Caller:
        callers.append(Caller(*await asyncio.open_connection(host, int(port))))
        return callers[-1]

    yield connect
    for caller in callers:
        caller.writer.close()
    await server.stop(1)


@pytest_asyncio.fixture
async def connect(application: Application) -> AsyncIterator[Connect]:
    """Connects to a server of the application."""
    async with serving(application) as connecting:
        yield connecting


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"x" * (MAX_HEAD - 200) + END,
        b"GET /?" + b"x" * (MAX_HEAD - 200) + b" HTTP/1.1\r\nhost: aka\r\n",
        GET + b"x: x\r\n" * (MAX_HEADERS - 1),
    ],
    ids=["a header", "a path", "many headers"],
)
async def test_a_head_within_the_bounds_is_read(connect: Connect, head: bytes) -> None:
    caller = await connect()
    await caller.send(head + END)
    assert await caller.status() == 200


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"x" * MAX_HEAD + END,
        GET + (b"x: " + b"x" * 1000 + END) * (MAX_HEAD // 1000 + 1),
        b"GET /?" + b"x" * MAX_HEAD + b" HTTP/1.1\r\nhost: aka\r\n",
        GET + b"x: x\r\n" * MAX_HEADERS,
        GET + b"x" * MAX_HEAD + b": x" + END,
    ],
    ids=["a header", "headers", "a path", "many headers", "a name"],
)
async def test_a_head_beyond_the_bounds_is_431_and_the_end(connect: Connect, head: bytes) -> None:
    caller = await connect()
    await caller.send(head + END)
    assert (await caller.status(), await caller.closed()) == (431, True)


async def test_a_head_beyond_the_bounds_is_431_though_each_of_its_parts_is_within_them(connect: Connect) -> None:
    caller, other = await connect(), await connect()
    await caller.send(GET + b"x: " + b"x" * (MAX_HEAD - 100))
    await other.send(GET + END)
    assert await other.status() == 200  # so the first part was read too
    await caller.send(b"x" * 100 + END + END)
    assert (await caller.status(), await caller.closed()) == (431, True)


@pytest.mark.parametrize("start", [b"GET /?", GET + b"x: ", GET + b"x"], ids=["a path", "a value", "a name"])
async def test_a_head_without_an_end_is_431_long_before_it_fills_the_memory(connect: Connect, start: bytes) -> None:
    caller = await connect()
    await caller.send(start)

    async def go_on() -> None:
        while True:
            await caller.send(b"x" * 4096)
            await asyncio.sleep(0)

    going_on = asyncio.create_task(go_on())
    assert await caller.status() == 431
    going_on.cancel()


@pytest.mark.parametrize(
    "more", [b"5;" + b"x" * 8 * MAX_HEAD, b"0\r\nx: " + b"x" * 8 * MAX_HEAD], ids=["a chunk's extension", "a trailer"]
)
async def test_what_is_no_content_in_a_body_is_bounded_and_left_to_the_application(
    connect: Connect, application: Application, more: bytes
) -> None:
    caller = await connect()
    await caller.send(CHUNKED)
    await caller.send(*[more[at : at + 4096] for at in range(0, len(more), 4096)])
    assert (await caller.status(), await caller.closed(), application.cut_off) == (400, True, 1)


async def test_a_body_in_very_small_chunks_is_read(connect: Connect) -> None:
    caller = await connect()
    await caller.send(CHUNKED + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
    assert await caller.status() == 200


async def test_a_head_that_stops_is_408_and_the_end(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_connection, "HEAD_SECONDS", 0.1)
    caller = await connect()
    await caller.send(GET)
    assert (await caller.status(), await caller.closed()) == (408, True)


async def test_a_head_that_drips_is_408_and_the_end(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_connection, "HEAD_SECONDS", 0.1)
    caller = await connect()

    async def drip() -> None:
        await caller.send(GET)
        while True:
            await caller.send(b"x: x\r\n")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert await caller.status() == 408
    dripping.cancel()


async def test_a_second_head_that_stops_is_408_too(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_connection, "HEAD_SECONDS", 0.1)
    caller = await connect()
    await caller.send(GET + END + GET)
    assert (await caller.status(), await caller.status(), await caller.closed()) == (200, 408, True)


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_connection_without_a_request_is_closed(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(rest_connection, "IDLE_SECONDS", 0.1)
    caller = await connect()
    await caller.send(said)
    assert await caller.closed()


async def test_a_body_that_was_answered_before_its_end_is_not_waited_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_connection, "HEAD_SECONDS", 0.1)
    caller = await connect()
    await caller.send(POST.replace(b"/body", b"/unread") + b"content-length: 1000\r\n\r\n{")
    assert (await caller.status(), await caller.closed()) == (200, True)


async def test_a_request_may_follow_a_body_that_was_answered_before_its_end(connect: Connect) -> None:
    caller = await connect()
    await caller.send(POST.replace(b"/body", b"/unread") + b"content-length: 2\r\n\r\n{")
    assert await caller.status() == 200
    await caller.send(b"}" + GET + END)
    assert await caller.status() == 200


async def test_a_bad_chunk_of_a_body_that_was_answered_already_is_the_end(connect: Connect) -> None:
    caller = await connect()
    await caller.send(CHUNKED.replace(b"/body", b"/unread"))
    assert await caller.status() == 200
    await caller.send(b"no chunk\r\n")
    assert await caller.closed()


async def test_a_caller_that_does_not_read_its_answer_is_cut_off(
    connect: Connect, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_connection, "READ_SECONDS", 0.1)
    caller = await connect()
    await caller.send(GET.replace(b"/ ", b"/without-end ") + END)
    async with asyncio.timeout(PATIENCE):
        await application.ended.wait()


async def test_rubbish_behind_a_request_is_refused_after_its_answer(connect: Connect, application: Application) -> None:
    caller = await connect()
    await caller.send(GET.replace(b"/ ", b"/wait ") + END + b"\x00 rubbish\r\n\r\n")
    await caller.send(b"more of it")
    application.let_go.set()
    assert [await caller.status(), await caller.status(), await caller.closed()] == [200, 400, True]


async def test_rubbish_behind_pipelined_requests_is_refused_after_all_answers(connect: Connect) -> None:
    caller = await connect()
    await caller.send((GET + END) * 3 + b"\x00 rubbish\r\n\r\n")
    assert [await caller.status() for _ in range(4)] == [200, 200, 200, 400]


async def test_too_many_pipelined_requests_are_refused_after_the_answers_to_the_others(connect: Connect) -> None:
    caller = await connect()
    await caller.send((GET + END) * 200)
    answered = [await caller.status() for _ in range(rest_connection.MAX_WAITING + 2)]
    assert answered == [200] * (rest_connection.MAX_WAITING + 1) + [400]
    assert await caller.closed()


async def test_connections_beyond_the_bound_are_closed_at_once_and_warned_of(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_server, "MAX_CONNECTIONS", 2)
    with structlog.testing.capture_logs() as logged:
        async with serving(application) as connect:
            first, second, third, fourth = [await connect() for _ in range(4)]
            assert [await third.closed(), await fourth.closed()] == [True, True]
            await first.send(GET + b"connection: close\r\n" + END)
            assert [await first.status(), await first.closed()] == [200, True]
            fifth = await connect()
            for caller in (second, fifth):
                await caller.send(GET + END)
                assert await caller.status() == 200
    assert [line["most"] for line in logged] == [2]


async def test_a_head_that_is_half_there_does_not_hold_up_the_stop() -> None:
    server = RestServer(Starlette())
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    caller = Caller(*await asyncio.open_connection(host, int(port)))
    await caller.send(GET)
    await server.stop(3600)
    assert await caller.closed()
    caller.writer.close()


def test_the_limits_are_those_of_the_page() -> None:
    bounds = [row[1] for row in table("docs/rest.md", "## Limits")]
    assert bounds == [
        f"{MAX_HEAD // 1024} KiB, {MAX_HEADERS} headers",
        f"{rest_connection.HEAD_SECONDS:.0f} s",
        f"{body.MAX_BYTES // 1024**2} MiB",
        f"{body.MAX_SECONDS:.0f} s",
        f"{rest_connection.IDLE_SECONDS} s",
        f"{rest_connection.READ_SECONDS:.0f} s",
        f"{rest_connection.MAX_WAITING}",
        f"{rest_server.MAX_CONNECTIONS}, or half of the files that the process may open",
    ]
