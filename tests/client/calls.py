"""Both clients called in one way. (It needs nothing of the server: the installed wheel is tested with it too.)"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from aka.client import AsyncClient, Client, Resolution
from tests.privacy import SUITE

APIS: Final = ("asyncio", "threads")


class Workspace(NamedTuple):
    """Where a server is, and a key that may do everything in one of its workspaces."""

    address: str
    key: str


class Calls:
    """A client whose methods are coroutines, whichever of the two it is."""

    def __init__(self, client: AsyncClient | Client) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        async def call(*given: Any, **named: Any) -> Any:
            SUITE.send(*(str(value) for value in (*given, *named.values())))
            if isinstance(self.client, AsyncClient):
                return await method(*given, **named)
            return await asyncio.to_thread(partial(method, *given, **named))

        return call

    async def resolve_all(self, identifiers: Iterable[Any], **options: Any) -> list[Resolution]:
        """Return all that `resolve_many` yields."""
        if isinstance(self.client, AsyncClient):
            return [resolution async for resolution in self.client.resolve_many(identifiers, **options)]
        return await asyncio.to_thread(list, self.client.resolve_many(identifiers, **options))


@asynccontextmanager
async def calls_to(api: str, address: str, **options: Any) -> AsyncIterator[Calls]:
    """Make a client of one of `APIS`."""
    if api == "asyncio":
        async with AsyncClient(address, **options) as client:
            yield Calls(client)
    else:
        with Client(address, **options) as threaded:
            yield Calls(threaded)
