"""Requests that no HTTP client sends, over a bare socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from aka.server import rest_connection
from aka.server.gateway import body, closing
from tests.gateway.served import CONNECT, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = 20.0
"""Seconds after which a test gives up: longer than anything here takes."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)

    async def answer(self) -> Answer:
        async with asyncio.timeout(LONG):
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return Answer(
                int(first.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))
            )

    async def rest(self) -> bytes:
        async with asyncio.timeout(LONG):
            return await self._reader.read()


@asynccontextmanager
async def connected(gateway: Gateway) -> AsyncIterator[Connection]:
    host, _, port = gateway.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def post(gateway: Gateway, *more: str, path: str = "/v1/users") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: aka", f"authorization: Bearer {gateway.key}", *more, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def request(gateway: Gateway, content: bytes = b'{"user_id":"u"}') -> bytes:
    return post(gateway, f"content-length: {len(content)}") + content


async def test_a_plain_request_is_answered(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway))
        answer = await connection.answer()
    assert (answer.status, json.loads(answer.content)["external_id"]) == (200, "u")


async def test_a_connection_is_kept_after_a_refusal(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway, b"{"))
        assert (await connection.answer()).status == 400
        connection.send(request(gateway))
        assert (await connection.answer()).status == 200


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway), request(gateway, b"["), request(gateway))
        assert [(await connection.answer()).status for _ in range(3)] == [200, 400, 200]


async def test_rubbish_after_an_answered_request_is_400_and_the_end(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway))
        assert (await connection.answer()).status == 200
        connection.send(b"\x00\xff rubbish\r\n\r\n")
        assert (await connection.answer()).status == 400
        assert await connection.rest() == b""


async def test_rubbish_pipelined_behind_a_request_is_400_after_its_answer_and_the_end(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway) + b"\x00\xff rubbish\r\n\r\n")
        assert [(await connection.answer()).status for _ in range(2)] == [200, 400]
        assert await connection.rest() == b""


RUBBISH = {
    "bytes": b"\x00\x01\x02\xff\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"POST /v1/users\r\n\r\n",
    "another version": b"POST /v1/users HTTP/9.9\r\nhost: aka\r\n\r\n",
    "no method": b" /v1/users HTTP/1.1\r\n\r\n",
    "an unknown method": b"LINK-ALIAS /v1/users HTTP/1.1\r\nhost: aka\r\n\r\n",
    "a header without a colon": b"POST /v1/users HTTP/1.1\r\nhost aka\r\n\r\n",
    "a header with a NUL": b"POST /v1/users HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "a length that is none": b"POST /v1/users HTTP/1.1\r\ncontent-length: many\r\n\r\n",
    "a negative length": b"POST /v1/users HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"POST /v1/users HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length and chunks": b"POST /v1/users HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    "a bad chunk": b"POST /v1/users HTTP/1.1\r\nhost: aka\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": b"POST /v1/users HTTP/1.1\r\nhost: aka\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
}


def told_by(answer: Answer) -> Any:
    return json.loads(answer.content)


BAD_REQUEST: dict[str, dict[str, Any]] = {
    "/v1/users/aliases": {"error": "Bad Request", "code": "INVALID_REQUEST", "details": {}},
    "/alias": {"ok": False, "error_code": "invalid-request"},
    "/users/alias/new": {"errors": []},
    f"{CONNECT}/Alias": {"code": "invalid_argument"},
}
"""What each dialect says of a bad request beside its message."""


@pytest.mark.parametrize(("path", "told"), BAD_REQUEST.items())
async def test_a_bad_chunk_is_the_dialects_400_and_the_end(gateway: Gateway, path: str, told: dict[str, Any]) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, "transfer-encoding: chunked", path=path), b"2\r\n{}\r\nno chunk\r\n")
        answer = await connection.answer()
        assert (answer.status, told.items() <= told_by(answer).items()) == (400, True)
        assert await connection.rest() == b""


@pytest.mark.parametrize(("path", "told"), BAD_REQUEST.items())
async def test_a_head_that_is_no_http_is_the_dialects_400_and_the_end(
    gateway: Gateway, path: str, told: dict[str, Any]
) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, "no header", path=path))
        answer = await connection.answer()
        assert (answer.status, told.items() <= told_by(answer).items()) == (400, True)
        assert await connection.rest() == b""


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/users/aliases", {"error": "Request Header Fields Too Large", "code": "HEADERS_TOO_LARGE"}),
        ("/alias", {"ok": False, "error_code": "invalid-request"}),
        ("/users/alias/new", {"errors": []}),
        (f"{CONNECT}/Alias", {"code": "resource_exhausted"}),
    ],
)
async def test_a_head_that_is_too_large_is_the_dialects_431_and_the_end(
    gateway: Gateway, path: str, told: dict[str, Any]
) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, f"x: {'x' * rest_connection.MAX_HEAD}", path=path))
        answer = await connection.answer()
        assert (answer.status, told.items() <= told_by(answer).items()) == (431, True)
        assert await connection.rest() == b""


@pytest.mark.parametrize("sent", RUBBISH.values(), ids=RUBBISH.keys())
async def test_what_is_no_http_is_400(gateway: Gateway, sent: bytes) -> None:
    async with connected(gateway) as connection:
        connection.send(sent)
        answer = await connection.answer()
        assert (answer.status, told_by(answer)["code"], await connection.rest()) == (400, "INVALID_REQUEST", b"")
        assert answer.headers["x-request-id"]


async def test_a_chunked_body_that_stops_is_408_and_the_end(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_SECONDS", 0.1)
    async with connected(gateway) as connection:
        connection.send(post(gateway, "transfer-encoding: chunked"), b'5\r\n{"use\r\n')
        answer = await connection.answer()
        assert (answer.status, json.loads(answer.content)["code"]) == (408, "REQUEST_TIMEOUT")
        assert await connection.rest() == b""


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/users/aliases", {"error": "Request Timeout", "code": "REQUEST_TIMEOUT", "details": {}}),
        ("/v1/users", {"error": "Request Timeout", "code": "REQUEST_TIMEOUT", "details": {}}),
        ("/alias", {"ok": False, "error_code": "invalid-request"}),
        ("/identify", {"ok": False, "error_code": "invalid-request"}),
        ("/users/alias/new", {"errors": []}),
        ("/users/identify", {"errors": []}),
        (f"{CONNECT}/Alias", {"code": "deadline_exceeded"}),
    ],
)
async def test_a_body_shorter_than_its_length_is_the_dialects_408_and_the_end(
    gateway: Gateway, path: str, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "MAX_SECONDS", 0.1)
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 15", path=path), b'{"user_id"')
        answer = await connection.answer()
        message = {"message": f"The body did not arrive within {body.MAX_SECONDS:.0f} s"}
        assert (answer.status, (told | message).items() <= told_by(answer).items()) == (408, True)
        assert await connection.rest() == b""


async def test_a_body_that_drips_is_408(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_SECONDS", 0.1)
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 1000000"))

        async def drip() -> None:
            while True:
                connection.send(b" ")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert (await connection.answer()).status == 408
        dripping.cancel()


async def test_a_caller_that_leaves_in_the_middle_of_its_body_harms_nobody(gateway: Gateway) -> None:
    async with connected(gateway) as leaving:
        leaving.send(post(gateway, "content-length: 1000"), b"{")
        await leaving.writer.drain()
    async with connected(gateway) as connection:
        connection.send(request(gateway))
        assert (await connection.answer()).status == 200


async def test_a_caller_that_has_said_all_gets_every_answer_and_the_end(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway), request(gateway, b"["), request(gateway))
        connection.writer.write_eof()
        assert [(await connection.answer()).status for _ in range(3)] == [200, 400, 200]
        assert await connection.rest() == b""


async def test_a_caller_that_ends_in_the_middle_of_its_body_is_told_so_after_all_answers(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway), post(gateway, "content-length: 1000", path="/alias"), b"{")
        connection.writer.write_eof()
        assert (await connection.answer()).status == 200
        answer = await connection.answer()
        assert (answer.status, json.loads(answer.content)["error_code"]) == (400, "invalid-request")
        assert await connection.rest() == b""


@pytest.mark.parametrize("said", [b"", b"POST /v1/users HT", b"\x00"])
async def test_a_caller_that_ends_without_a_request_is_let_go(gateway: Gateway, said: bytes) -> None:
    async with connected(gateway) as connection:
        connection.send(said)
        connection.writer.write_eof()
        assert (await connection.rest())[:12] == (b"HTTP/1.1 400" if said == b"\x00" else b"")


async def test_a_body_too_large_is_refused_before_it_has_all_arrived(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 1000000000"), b" " * (1024 * 1024 + 1))
        assert (await connection.answer()).status == 413


async def test_a_body_too_large_is_the_end(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway, b" " * (3 * 1024 * 1024)))
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await connection.rest() == b""


async def test_a_caller_that_goes_on_sending_a_body_too_large_is_cut_off(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "MAX_BYTES", 1024 * 1024)
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 1000000000"))
        with pytest.raises(ConnectionError):
            while True:
                connection.send(b" " * 65536)
                await connection.writer.drain()


async def test_a_caller_that_stops_in_a_body_too_large_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "MAX_SECONDS", 0.1)
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 1000000000"), b" " * (1024 * 1024 + 1))
        assert (await connection.answer()).status == 413
        assert await connection.rest() == b""


async def test_a_caller_that_asks_first_is_told_to_go_on(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 15", "expect: 100-continue"))
        first = await connection._reader.readuntil(b"\r\n\r\n")
        connection.send(b'{"user_id":"u"}')
        assert (first.split()[1], (await connection.answer()).status) == (b"100", 200)


async def test_a_caller_that_asks_first_with_another_content_type_is_told_415(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, "content-length: 15", "expect: 100-continue", "content-type: text/plain"))
        assert (await connection.answer()).status == 415


async def test_a_request_to_become_a_web_socket_is_answered_as_the_request_it_is(gateway: Gateway) -> None:
    lines = ["GET /v1/users HTTP/1.1", "host: aka", "connection: upgrade", "upgrade: websocket"]
    lines += ["sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    async with connected(gateway) as connection:
        connection.send("\r\n".join(lines).encode())
        assert (await connection.answer()).status == 405


async def test_http_1_0_is_answered_and_the_connection_ends(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(request(gateway).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await connection.answer()).status == 200
        assert await connection.rest() == b""


async def test_of_two_authorization_headers_one_counts(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        connection.send(post(gateway, "authorization: Bearer aka_other", "content-length: 15"), b'{"user_id":"u"}')
        assert (await connection.answer()).status in (200, 401)


async def test_very_many_headers_are_431(gateway: Gateway) -> None:
    async with connected(gateway) as connection:
        headers = [f"x-{number}: {'y' * 100}" for number in range(2000)]
        connection.send(post(gateway, *headers, "content-length: 15"), b'{"user_id":"u"}')
        assert (await connection.answer()).status == 431
