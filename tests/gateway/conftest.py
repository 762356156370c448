"""One gateway a stub and session; a workspace of its own a test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.served import STUBS, Gateway, gateway_over, new_workspaces

Serve = Callable[..., Awaitable[Gateway]]


@pytest.fixture(scope="session", params=STUBS)
def stub(request: pytest.FixtureRequest) -> str:
    """The kind of stub that the gateway is over."""
    return str(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(stub: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """The gateway that all tests share, without a rate limit."""
    async with gateway_over(stub, tmp_path_factory.mktemp("gateway") / "aka.db") as served:
        yield served


@pytest.fixture(scope="session")
def workspaces(running: Gateway) -> Iterator[tuple[str, str]]:
    """Names of workspaces that nobody used, and keys that may do everything in them."""
    return (made for _ in count() for made in new_workspaces(running.server, 500))


@pytest.fixture
def gateway(running: Gateway, workspaces: Iterator[tuple[str, str]]) -> Gateway:
    """A client of the gateway, with a key that may do everything in a workspace of this test's own."""
    running.trouble.end()
    running.readiness.set()
    workspace, key = next(workspaces)
    return replace(running, workspace=workspace, key=key)


@pytest_asyncio.fixture(loop_scope="session")
async def serve(stub: str, tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve another gateway with settings of its own, such as a rate limit."""
    async with AsyncExitStack() as stack:

        async def serve_one(**settings: Any) -> Gateway:
            return await stack.enter_async_context(gateway_over(stub, tmp_path / "aka.db", **settings))

        yield serve_one
