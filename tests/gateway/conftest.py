"""One gateway a stub and session; a workspace of its own a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.gateway.served import STUBS, Gateway, gateway_over, new_workspaces

Serve = Callable[..., Awaitable[Gateway]]

RATE_LIMIT: Final = "4/minute"
NOW: Final = 1_000_000_000
"""A second that is 40 s into a minute."""


class Shared:
    """A gateway that tests share, each in a workspace of its own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._workspaces = (made for _ in count() for made in new_workspaces(gateway.server, 300))

    def take(self) -> Gateway:
        """Return a client with a new key, of a gateway that nothing befalls."""
        self._gateway.trouble.end()
        self._gateway.readiness.set()
        workspace, key = next(self._workspaces)
        return replace(self._gateway, workspace=workspace, key=key)


@pytest.fixture(scope="session", params=STUBS)
def stub(request: pytest.FixtureRequest) -> str:
    """The kind of stub that the gateway is over."""
    return str(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(stub: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    """The gateway that all tests share, without a rate limit."""
    async with gateway_over(stub, tmp_path_factory.mktemp("gateway") / "aka.db") as served:
        yield Shared(served)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_limited(stub: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    """One with a rate limit, on a clock that stands still."""
    database = tmp_path_factory.mktemp("limited") / "aka.db"
    async with gateway_over(stub, database, rate_limit=RATE_LIMIT, clock=lambda: float(NOW)) as served:
        yield Shared(served)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def closed(stub: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One whose store is closed."""
    async with gateway_over(stub, tmp_path_factory.mktemp("closed") / "aka.db") as served:
        await served.server.store.close()
        yield served


@pytest.fixture
def gateway(running: Shared) -> Gateway:
    """A client of the gateway, with a key that may do everything in a workspace of this test's own."""
    return running.take()


@pytest.fixture
def limited(running_limited: Shared) -> Gateway:
    """The same under `RATE_LIMIT`, with a key that used nothing of it."""
    return running_limited.take()


@pytest_asyncio.fixture(loop_scope="session")
async def serve(stub: str, tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve another gateway with settings of its own, such as a rate limit."""
    async with AsyncExitStack() as stack:

        async def serve_one(**settings: Any) -> Gateway:
            return await stack.enter_async_context(gateway_over(stub, tmp_path / "aka.db", **settings))

        yield serve_one
