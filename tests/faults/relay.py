"""Stands between callers and an address, and fails them as networks do."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from random import Random
from typing import Final

_PROTOCOL: Final = (3 << 16).to_bytes(4)
"""What a connection to PostgreSQL begins with; what it says before that asks for TLS."""
_LINGER: Final = struct.pack("ii", 1, 0)


class When(Enum):
    """When a connection to PostgreSQL is cut that commits."""

    BEFORE = "before PostgreSQL gets the COMMIT"
    AFTER = "after PostgreSQL has committed, before it is known"


class Relay:
    """Passes bytes on between callers and an address, until it is told otherwise."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._connections: set[_Connection] = set()
        self._silent = False
        self._brittle: Random | None = None
        self._cut: tuple[When, int] | None = None
        self.cuts = 0
        """Connections that were cut in a COMMIT."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen while the block runs; yields the address."""
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as listening:
            host, port = listening.sockets[0].getsockname()
            try:
                yield f"{host}:{port}"
            finally:
                for connection in [*self._connections]:
                    connection.cut()

    def lose(self) -> None:
        """Lose what comes over the connections that there are, which stay open."""
        for connection in self._connections:
            connection.lose()

    def fall_silent(self) -> None:
        """Lose all that comes, over new connections too, until it speaks again: as a firewall that has forgotten."""
        self._silent = True
        self.lose()

    def speak(self) -> None:
        """Pass on what comes over new connections; those that there are stay silent."""
        self._silent = False

    def cut(self) -> None:
        """Cut all connections."""
        for connection in [*self._connections]:
            connection.cut()

    def cut_at_any_byte(self, random: Random | None) -> None:
        """Cut each new connection after some bytes, in either direction; None: no longer."""
        self._brittle = random

    def cut_commits(self, when: When, number: int) -> None:
        """Cut so many of PostgreSQL's connections, the next ones to commit."""
        self._cut = when, number

    def _committing(self) -> When | None:
        """Say whether, and when, a connection is cut that is about to commit."""
        if self._cut is None:
            return None
        when, number = self._cut
        self._cut = (when, number - 1) if number > 1 else None
        self.cuts += 1
        return when

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        budget = None if self._brittle is None else int(10 ** self._brittle.uniform(1, 5))
        connection = _Connection((reader, writer), there, self._committing, budget)
        self._connections.add(connection)
        connection.pass_on()
        if self._silent:
            connection.lose()
        await connection.ended.wait()
        self._connections.discard(connection)


class _Connection:
    """A caller's connection and the one that its bytes go on over."""

    def __init__(
        self,
        caller: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        committing: Callable[[], When | None],
        budget: int | None,
    ) -> None:
        self._caller = caller
        self._there = there
        self._committing = committing
        self._budget = budget
        self._said = _Said()
        self._dies_with_the_answer = False
        self._passing: list[asyncio.Task[None]] = []
        self.ended = asyncio.Event()

    def pass_on(self) -> None:
        """Begin to pass on what comes."""
        for source, target, pass_one in (
            (self._caller[0], self._there[1], self._pass_call),
            (self._there[0], self._caller[1], self._pass_answer),
        ):
            self._passing.append(asyncio.create_task(self._pass(source, target, pass_one)))

    def lose(self) -> None:
        """Pass on nothing more."""
        for passing in self._passing:
            passing.cancel()

    def cut(self) -> None:
        """End both connections at once."""
        self.lose()
        for _, writer in (self._caller, self._there):
            if (raw := writer.get_extra_info("socket")) is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)  # so that its end is a reset
            writer.transport.abort()
        self.ended.set()

    async def _pass(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        pass_one: Callable[[bytes, asyncio.StreamWriter], bool],
    ) -> None:
        try:
            while data := await source.read(65536):
                if not pass_one(data, target):
                    break
                await target.drain()
        except OSError:
            pass  # whoever was there has gone
        self.cut()

    def _pass_call(self, data: bytes, target: asyncio.StreamWriter) -> bool:
        """Pass on what a caller says; say whether the connection goes on."""
        if self._said.commits(data):
            when = self._committing()
            if when is When.BEFORE:
                return False
            self._dies_with_the_answer = when is When.AFTER
        return self._pass_some(data, target)

    def _pass_answer(self, data: bytes, target: asyncio.StreamWriter) -> bool:
        return not self._dies_with_the_answer and self._pass_some(data, target)

    def _pass_some(self, data: bytes, target: asyncio.StreamWriter) -> bool:
        if self._budget is not None:
            data = data[: self._budget]
            self._budget -= len(data)
        target.write(data)
        return self._budget != 0


class _Said:
    """What a client of PostgreSQL has said so far, message by message."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._started = False

    def commits(self, data: bytes) -> bool:
        """Whether a COMMIT is among the messages that these bytes complete."""
        self._rest += data
        return any([b"COMMIT" in message.upper() for message in self._messages()])

    def _messages(self) -> Iterator[bytes]:
        """The queries; every message has its length in front, and all but the first a letter before that."""
        while len(self._rest) >= (head := 5 if self._started else 4):
            length = head - 4 + int.from_bytes(self._rest[head - 4 : head])
            if len(self._rest) < length:
                return
            message = bytes(self._rest[:length])
            del self._rest[:length]
            if not self._started:
                self._started = message[4:8] == _PROTOCOL
            elif message[:1] == b"Q":
                yield message[5:]
