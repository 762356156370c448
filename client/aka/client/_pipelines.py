"""Many calls at once, answered in order: a bounded number are under way, and no more."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from google.protobuf.message import Message

from aka.client._connection import Started

I = TypeVar("I")  # noqa: E741
A = TypeVar("A", bound=Message)


def batches(items: Iterable[I], size: int) -> Iterator[list[I]]:
    """Yield the items in lists of a size; the last may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


async def async_batches(items: Iterable[I] | AsyncIterable[I], size: int) -> AsyncIterator[list[I]]:
    """Yield the items in lists of a size; the last may be shorter."""
    if isinstance(items, Iterable):
        for batch in batches(items, size):
            yield batch
        return
    batch = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def in_order(items: Iterable[I], start: Callable[[I], Started[A]], at_once: int) -> Generator[tuple[I, A], None, None]:
    """Start a call for each item and yield it with its answer; closing the generator cancels those under way."""
    under_way: deque[tuple[I, Started[A]]] = deque()
    try:
        for item in items:
            under_way.append((item, start(item)))
            while under_way and (len(under_way) >= at_once or under_way[0][1].done()):
                yield _ended(*under_way.popleft())
        while under_way:
            yield _ended(*under_way.popleft())
    finally:
        for _, started in under_way:
            started.cancel()


async def async_in_order(
    items: AsyncIterator[I], start: Callable[[I], "asyncio.Task[tuple[A, str]]"], at_once: int
) -> AsyncGenerator[tuple[I, A], None]:
    """Do the same; the items are awaited while calls are under way."""
    room = asyncio.Semaphore(at_once)
    under_way: asyncio.Queue[tuple[I, asyncio.Task[tuple[A, str]]] | None] = asyncio.Queue()

    async def read() -> None:
        try:
            await room.acquire()  # before an item is taken: none is taken too early
            async for item in items:
                under_way.put_nowait((item, start(item)))
                await room.acquire()
        finally:
            under_way.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (begun := await under_way.get()) is not None:
            answer, _ = await begun[1]
            room.release()
            yield begun[0], answer
        await reading
    finally:
        left: list[asyncio.Task[Any]] = [reading]
        while not under_way.empty():
            if (begun := under_way.get_nowait()) is not None:
                left.append(begun[1])
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _ended(item: I, started: Started[A]) -> tuple[I, A]:
    return item, started.result()[0]
