"""What is written to a connection for an answer: one piece where it is whole, and what uvicorn writes where not."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
import uvicorn
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from aka.server.rest_connection import Bounds, Connection
from aka.server.rest_server import refuse_in_text

GET = b"GET / HTTP/1.1\r\nhost: aka\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 5\r\n\r\nhello"


class Recording(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def recorded(app: ASGIApp, *sent: bytes) -> tuple[list[bytes], bool]:
    """Return what a connection to an application writes when a caller sends, and whether it closes then."""
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    config = uvicorn.Config(app, log_config=None, access_log=False)
    config.load()
    connection = Connection(config, state, Bounds(9, lambda: None, refuse_in_text), asyncio.get_running_loop())
    transport = Recording()
    connection.connection_made(transport)
    for data in sent:
        connection.data_received(data)
    while state.tasks:
        await asyncio.gather(*state.tasks)
    closed = transport.closed
    connection.connection_lost(None)
    return transport.written, closed


async def written(app: ASGIApp, *sent: bytes) -> list[bytes]:
    """Return what a connection that stays open writes."""
    pieces, closed = await recorded(app, *sent)
    assert not closed
    return pieces


def answering(headers: Sequence[tuple[bytes, bytes]], *pieces: bytes) -> ASGIApp:
    """Return an application that answers with these headers and a body of pieces."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece, after in pairwise([*pieces, None]):
            body: Message = {"type": "http.response.body", "body": piece, "more_body": after is not None}
            await send(body)

    return app


async def test_a_whole_answer_is_one_write() -> None:
    assert await written(Response("hello"), GET) == [HELLO]


async def test_so_is_each_of_several() -> None:
    assert await written(Response("hello"), GET, GET) == [HELLO, HELLO]
    assert await written(Response("hello"), GET + GET + GET) == [HELLO, HELLO, HELLO]


async def test_a_head_request_gets_no_body() -> None:
    assert b"".join(await written(Response("hello"), GET.replace(b"GET", b"HEAD"))) == HELLO[:-5]


@pytest.mark.parametrize("asked", [GET.replace(b"1.1", b"1.0"), GET[:-2] + b"connection: close\r\n\r\n"])
async def test_the_last_answer_of_a_connection_says_so_and_ends_it(asked: bytes) -> None:
    pieces, closed = await recorded(Response("hello"), asked)
    assert b"".join(pieces) == HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert closed


async def test_an_application_may_end_the_connection() -> None:
    _, closed = await recorded(Response("hello", headers={"Connection": "close"}), GET)
    assert closed


async def test_a_stream_is_sent_as_it_comes() -> None:
    head, *chunks = await written(StreamingResponse(iter(["hel", "lo"])), GET)
    assert b"transfer-encoding: chunked\r\n" in head
    assert chunks == [b"3\r\nhel\r\n", b"2\r\nlo\r\n", b"0\r\n\r\n"]


async def test_a_body_in_pieces_is_sent_as_it_comes() -> None:
    head = [(b"content-length", b"5")]
    assert await written(answering(head, b"hel", b"lo"), GET) == [HELLO[:-5], b"hel", b"lo"]
    assert (await written(answering(head, b"hello", b""), GET))[:2] == [HELLO[:-5], b"hello"]


@pytest.mark.parametrize("broken", [b"a\r\nb: c", b"a\nb", b"a\rb"])
@pytest.mark.parametrize("named", [True, False])
async def test_a_header_with_a_line_break_is_never_sent(broken: bytes, *, named: bool) -> None:
    header = (b"x", broken) if named else (broken, b"x")
    app = answering([header, (b"content-length", b"5")], b"hello")
    pieces, _ = await recorded(app, GET)
    assert broken not in b"".join(pieces)


@pytest.mark.parametrize("length", [b"4", b"6"])
async def test_a_body_of_another_length_than_its_head_says_is_not_sent_as_a_whole(length: bytes) -> None:
    app = answering([(b"content-length", length)], b"hello")
    pieces, closed = await recorded(app, GET)
    assert [piece for piece in pieces if piece.endswith(b"\r\n\r\nhello")] == []
    assert closed
