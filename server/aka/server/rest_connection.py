"""A connection of the REST port: uvicorn's, bounded in size and time, and refusing in the application's words."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from aka.server.whole_answers import send_to

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's first line and headers together, and of what is not content in its body."""
MAX_HEADERS: Final = 100
MAX_WAITING: Final = 100
"""Requests that may wait for the answer to one before them."""
HEAD_SECONDS: Final = 10.0
"""What a head may take from its first byte on, and what is left of a body whose request is answered already."""
IDLE_SECONDS: Final = 75
"""What a connection may be without a request."""
READ_SECONDS: Final = 30.0
"""What a caller may take to read what was answered."""
LINGER_SECONDS: Final = 1.0
"""What a caller that was refused gets to read why, before the connection is closed."""
CHUNK: Final = 16
"""Bytes that a chunk of a body may have around it."""

WHOLE_BODY: Final = "aka.whole_body"
"""The ASGI extension of a request whose body is there already: the first message has all of it, at once."""

Refuse = Callable[[str, int, str], Response]
"""Makes the answer to a request that cannot be read, of its path (as far as that came), a status and a message."""


class Bounds(NamedTuple):
    """What the connections of a server have in common."""

    connections: int
    """How many there may be; more are closed at once."""
    too_many: Callable[[], None]
    """Called for each that was closed."""
    refuse: Refuse


class Connection(HttpToolsProtocol):
    """uvicorn reads and answers requests; this refuses what is too large, too slow or no HTTP."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, bounds: Bounds, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(config, state, {}, loop)
        self._bounds = bounds
        self._application: ASGIApp = self.app
        self.app = self._answer
        self._in_head = self._in_body = False
        self._came = self._began = self._unread = 0
        """Bytes that came last; that came with a head's first; and since then of the head, or around content."""
        self._broken: object = None
        """The scope of the request whose body cannot be read to its end."""
        self._ended = False
        """Whether the caller sends nothing more."""
        self._refusal: Response | None = None
        """What is answered when all requests before it are."""
        self._timed: tuple[float, Callable[[], None], asyncio.TimerHandle] | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            self._bounds.too_many()
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was waited for."""
        super().connection_lost(exc)
        self._within(None, self._close)
        if self._reading is not None:
            self._reading.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on, within the bounds of what is no content."""
        if self._broken is not None or self._refusal is not None:
            return
        self._came = len(data)
        self._unread += self._came
        super().data_received(data)
        if self._unread > MAX_HEAD:
            if self._in_head:
                self._refuse_head()
            elif self._in_body:
                self._break_off()
        if self._timed is not None or self._in_head or not self._is_answering():
            self._watch()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what came, and refuse a body that stops here: the caller may still read. (Not over TLS.)"""
        self._ended = True
        if self._in_body and self._broken is None:
            self._break_off()
        return self._is_answering() and self.transport.get_extra_info("sslcontext") is None

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head, self._began, self._unread = True, self._came, 0

    def on_headers_complete(self) -> None:
        """End a head, or refuse it."""
        if len(self.headers) > MAX_HEADERS or (self._began + self._unread > MAX_HEAD and self._head_size() > MAX_HEAD):
            self._refuse_head()
            raise ValueError("the head is too large")  # ends the parser
        if len(self.pipeline) >= MAX_WAITING:
            self._refuse(400, f"More than {MAX_WAITING} requests wait for an answer on this connection")
            raise ValueError("too many requests wait")
        super().on_headers_complete()
        self._in_head, self._in_body, self._unread = False, True, 0

    def on_body(self, body: bytes) -> None:
        """Take content."""
        self._unread -= len(body) + CHUNK
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self._in_body = False

    def on_response_complete(self) -> None:
        """Go on with the next request, or with the refusal of what came behind this one."""
        super().on_response_complete()
        if self._refusal is not None:
            self._say_refusal()
        elif self._ended and not self._is_answering():
            self.transport.close()
        if self._in_body:  # else uvicorn bounds the time to the next request
            self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read."""
        if self._in_body:
            self._break_off()
        else:
            self._refuse(400, "The request is no HTTP/1.1")

    def pause_writing(self) -> None:
        """Give the caller some time to read."""
        super().pause_writing()
        self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See that the caller reads."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def _answer(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        send = send_to(send.__self__)
        whole = scope is not self.scope or not self._in_body
        if whole:
            scope.setdefault("extensions", {})[WHOLE_BODY] = {}
            return self._application(scope, receive, send)

        async def receive_whole() -> Message:
            message = await receive()
            return {"type": "http.disconnect"} if self._broken is scope else message

        return self._application(scope, receive_whole, send)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _break_off(self) -> None:
        """Let the application refuse a request whose body cannot be read; end where it has answered already."""
        self._broken = self.scope
        if not self._is_answering():
            self.transport.close()
            return
        self.cycle.keep_alive = self.cycle.more_body = False
        self.cycle.message_event.set()

    def _refuse_head(self) -> None:
        self._refuse(431, f"The request's head is larger than {MAX_HEAD} bytes or {MAX_HEADERS} headers")

    def _refuse(self, status: int, message: str) -> None:
        if self._refusal is None:
            path = self.url.partition(b"?")[0].decode("latin-1")
            self._refusal = self._bounds.refuse(path, status, message)
            self.flow.pause_reading()
            self._say_refusal()

    def _say_refusal(self) -> None:
        answer = self._refusal
        if answer is None or self._is_answering() or self.transport.is_closing():
            return
        answer.headers["Connection"] = "close"
        head = [STATUS_LINE[answer.status_code]]
        head += [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *answer.raw_headers)]
        self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        if self.transport.can_write_eof():
            # To close with something unread would reset the connection, often before the caller has read the answer.
            self.transport.write_eof()
            self.flow.resume_reading()
            self._within(LINGER_SECONDS, self._close)
        else:
            self.transport.close()

    def _watch(self) -> None:
        """Bound the time of what the caller is to send next."""
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._in_head:
            self._within(HEAD_SECONDS, self._refuse_late_head)
        elif self._is_answering():
            self._within(None, self._close)
        else:
            self._within(HEAD_SECONDS if self._in_body else IDLE_SECONDS, self._close)

    def _refuse_late_head(self) -> None:
        if self._is_answering():  # and reads no more until it has
            self._timed = None
            self._watch()
        else:
            self._refuse(408, f"The request's head did not arrive within {HEAD_SECONDS:.0f} s")

    def _close(self) -> None:
        self.transport.close()

    def _within(self, seconds: float | None, otherwise: Callable[[], None]) -> None:
        """Do something in so many seconds unless told anew, or nothing any more; what runs already is let run."""
        if self._timed is not None:
            if self._timed[:2] == (seconds, otherwise):
                return
            self._timed[2].cancel()
        self._timed = None if seconds is None else (seconds, otherwise, self.loop.call_later(seconds, otherwise))
