"""The messages of a call that is a stream: each is guarded like a call, and a server that stops waits for none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from aka.server.errors import server_stopping
from aka.server.methods import Method

T = TypeVar("T")

Guard = Callable[[int], Awaitable[None]]
"""Raises AkaError where a message may not be served; it is told what that counts against the rate limit."""
Send = Callable[[bytes], Awaitable[None]]
"""Sends a message, and returns when the transport takes another."""


async def received(
    bodies: AsyncIterator[bytes], method: Method, guard: Guard, stopping: asyncio.Event
) -> AsyncIterator[Message]:
    """Return what the caller sends, to the end of it; STORE_UNAVAILABLE once the server stops."""
    while (body := await _unless(stopping, anext(bodies, None))) is not None:
        request = method.decode(body)
        await guard(method.cost(request))
        yield request


async def send_all(responses: AsyncIterator[Message], send: Send, guard: Guard, stopping: asyncio.Event) -> None:
    """Send a stream's messages, as fast as the caller reads them; STORE_UNAVAILABLE once the server stops.

    The first was guarded with the call.
    """
    first = True
    async for response in responses:
        if not first:
            await guard(1)
        first = False
        await _unless(stopping, send(response.SerializeToString()))


async def _unless(stopping: asyncio.Event, awaited: Awaitable[T]) -> T:
    """Return what is awaited; where the server stops before that, let it go and raise STORE_UNAVAILABLE."""
    waiting = asyncio.ensure_future(awaited), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            raise server_stopping()
        return waiting[0].result()
    finally:
        for each in waiting:
            each.cancel()
