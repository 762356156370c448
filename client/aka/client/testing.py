"""A real aka for tests of code that calls it: in memory, on a free port, empty for each test. (docs/clients.md)

    pytest_plugins = ["aka.client.testing"]  # in conftest.py

    def test_a_login_is_linked(aka_server):
        with aka_server.client() as client:
            ...

It needs the server: `pip install 'aka[server]'`.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from aka.admin.v1 import admin_service_pb2 as admin_v1
from aka.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from aka.client import AsyncClient, Client

_READY: Final = "aka ready grpc="
_SECONDS: Final = 10.0
"""What a new workspace, and the end of the server, may take."""


@dataclass(frozen=True, slots=True)
class AkaServer:
    """An aka that is there for tests, and a key that may do everything in one of its workspaces."""

    address: str
    api_key: str = field(repr=False)

    def client(self, **options: Any) -> Client:
        """Return a client, with any options of `Client`."""
        return Client(self.address, api_key=self.api_key, **options)

    def async_client(self, **options: Any) -> AsyncClient:
        """Return a client for asyncio, with any options of `AsyncClient`."""
        return AsyncClient(self.address, api_key=self.api_key, **options)

    def empty(self) -> "AkaServer":
        """Return the same server with a key of a new workspace, in which nothing is yet."""
        with grpc.insecure_channel(self.address, [("grpc.enable_http_proxy", 0)]) as channel:
            answer = AdminServiceStub(channel).CreateWorkspace(
                admin_v1.CreateWorkspaceRequest(name=str(uuid.uuid4())),
                metadata=(("authorization", f"Bearer {self.api_key}"),),
                timeout=_SECONDS,
            )
        return AkaServer(self.address, answer.secret)


@contextmanager
def running_server() -> Iterator[AkaServer]:
    """Run `aka serve` in memory while the block runs. RuntimeError, with what it said, where it does not serve."""
    api_key = secrets.token_hex()
    settings = {
        "AKA_DATABASE_URL": "sqlite:///:memory:",
        "AKA_GRPC_ADDRESS": "127.0.0.1:0",
        "AKA_REST_ADDRESS": "",
        "AKA_BOOTSTRAP_API_KEY": api_key,
        "AKA_RATE_LIMIT": "off",
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")} | settings
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "aka.server", "serve"], env=env, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            ready = process.stdout.readline() if process.stdout else ""
            if not ready.startswith(_READY):
                process.wait(_SECONDS)
                log.seek(0)
                raise RuntimeError(_why(log.read()))
            yield AkaServer(ready.removeprefix(_READY).split(" rest=")[0], api_key)
        finally:
            process.terminate()
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


try:
    import pytest
except ModuleNotFoundError:  # `running_server` is there for other test runners too
    pass
else:

    @pytest.fixture(scope="session")
    def aka_process() -> Iterator[AkaServer]:
        """One aka for the whole run, with a key that may do everything in it."""
        with running_server() as server:
            yield server

    @pytest.fixture
    def aka_server(aka_process: AkaServer) -> AkaServer:
        """An aka in which nothing is yet, whatever other tests did."""
        return aka_process.empty()


def _why(log: str) -> str:
    if "ModuleNotFoundError" in log:
        missing = log.strip().splitlines()[-1]
        return f"aka's server is not installed ({missing}): pip install 'aka[server]'"
    return f"aka does not serve:\n{log}"
