"""A transport that sends what is written to it in one turn of the event loop as one."""

import asyncio
from typing import Any


class JoinedWrites:
    """A transport, but for that.

    uvicorn writes the head and the body of an answer apart, and to send costs more than to write the answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn."""
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def write_eof(self) -> None:
        """Send what was written, and that there is no more."""
        self._send()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what was written, then close."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send(self) -> None:
        written, self._written = self._written, []
        if written and not self._transport.is_closing():
            self._transport.write(b"".join(written))
