"""HTTP/2 by hand (RFC 9113, RFC 7541), for what no gRPC client would send."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aka.server.methods import SERVICE

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1

INITIAL_WINDOW_SIZE: Final = 4
"""The setting of how much a peer may send on a stream before it is told to go on."""

Header = tuple[str, str | bytes]


@dataclass(frozen=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_a_call(self) -> bool:
        """Whether it is the end of the stream or of the connection."""
        return self.kind in (RST_STREAM, GOAWAY) or (self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write a frame."""
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def setting(number: int, value: int) -> bytes:
    """Write a SETTINGS frame with one setting."""
    return frame(SETTINGS, 0, 0, struct.pack(">HI", number, value))


def block(*headers: Header) -> bytes:
    """Write headers as literals that are neither indexed nor compressed."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def message(body: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """Write gRPC's length-prefixed message."""
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body


def call(method: str, *headers: Header, path: str | None = None) -> bytes:
    """Write the headers of a call of an RPC, those of every gRPC call before the given ones."""
    return block(
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path or f"/{SERVICE}/{method}"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *headers,
    )


class Peer:
    """A connection on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes; a server that has hung up is no error."""
        try:
            self._writer.write(b"".join(parts))
            await self._writer.drain()
        except ConnectionError:
            pass

    async def frames(self, until: int | None = None) -> list[Frame]:
        """Return the frames up to the first of a kind, to the end of the call or of the connection."""
        seen: list[Frame] = []
        while True:
            try:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
            except (asyncio.IncompleteReadError, ConnectionError):
                return seen
            got = Frame(head[3], head[4], struct.unpack(">I", head[5:])[0], payload)
            seen.append(got)
            if got.kind in (SETTINGS, PING) and not got.flags & ACK:
                await self.send(frame(got.kind, ACK, 0, got.payload if got.kind == PING else b""))
            if got.kind == until or got.ends_a_call:
                return seen

    async def closed(self) -> bytes:
        """Return what comes until the server hangs up."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, trace: TracebackType | None) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def peer_of(address: str) -> AsyncIterator[Peer]:
    """Connect to `HOST:PORT` and say nothing yet."""
    host, _, port = address.rpartition(":")
    async with Peer(*await asyncio.open_connection(host, int(port))) as peer:
        yield peer


def _string(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return _length(len(encoded)) + encoded


def _length(number: int) -> bytes:
    """Write a number after a prefix of 7 bits."""
    if number < 127:
        return bytes([number])
    written, number = bytearray([127]), number - 127
    while number >= 128:
        written.append(number % 128 + 128)
        number //= 128
    return bytes([*written, number])
