"""What the client's tests need where no server can run beside them: AKA_SERVER is one, AKA_API_KEY its first key."""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from aka.client.testing import AkaServer
from tests.client.calls import APIS, Calls, Workspace, calls_to


@pytest.fixture
def server() -> Workspace:
    """An empty workspace of that server."""
    served = AkaServer(os.environ["AKA_SERVER"], os.environ["AKA_API_KEY"]).empty()
    return Workspace(served.address, served.api_key)


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest_asyncio.fixture
async def client(server: Workspace, api: str) -> AsyncIterator[Calls]:
    """A client that may do everything."""
    async with calls_to(api, server.address, api_key=server.key) as calls:
        yield calls
