"""The last answer of a connection whose caller is still sending."""

import asyncio
import contextlib
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_SECONDS: Final = 2.0
MAX_BYTES: Final = 16 * 1024 * 1024


def and_close(response: Response) -> ASGIApp:
    """Answer and end the connection, but read on before, for a moment and within bounds.

    A caller in the middle of its body would otherwise find its connection reset, often before it saw the answer.
    """
    response.headers["Connection"] = "close"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_end(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await response(scope, receive, send_without_end)
        left = MAX_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):  # the body's end, or the caller's
                        break
        await send({"type": "http.response.body"})

    return app
