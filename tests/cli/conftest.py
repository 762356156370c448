"""Runs of `aka serve` that many tests look at, each from one side."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import grpc
import pytest

from tests.cli.command import KEY, Ended, Serving, aka, environment, identify, serving

PRIVATE = "jane.doe@example.com"
"""Part of the values that were sent to `served`."""


@dataclass(frozen=True)
class Run:
    """A server that served, was called and was stopped by SIGTERM; its folder is not to be changed."""

    folder: Path
    ready: str
    address: str
    ended: Ended


def use(server: Serving, key: str) -> None:
    """Make two users and an alias, and be refused twice."""
    server.call("Identify", identify("u", PRIVATE), key)
    server.call("Alias", {"user_id": "u", "alias_id": "a"}, key)
    for body, good in (({"user_id": f"no-{PRIVATE}", "alias_id": "b"}, key), ({}, f"not-{key}")):
        with suppress(grpc.RpcError):
            server.call("Alias", body, good)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a given key, which logged all that it could in its own form."""
    folder = tmp_path_factory.mktemp("served")
    with serving("--log-level", "debug", cwd=folder) as server:
        use(server, KEY)
        return Run(folder, server.ready, server.address, server.stop())


@pytest.fixture(scope="session")
def served_on_its_own(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that made up its key, which logged all that it could as text."""
    folder = tmp_path_factory.mktemp("made-up")
    with serving("--log-level", "debug", "--log-format", "text", cwd=folder, key=None) as server:
        use(server, (folder / "aka.db.key").read_text().strip())
        return Run(folder, server.ready, server.address, server.stop())


@pytest.fixture
def used(served: Run, tmp_path: Path) -> Path:
    """A copy of what `served` left, to be changed."""
    return copytree(served.folder, tmp_path / "used")


@dataclass(frozen=True)
class Meanwhile:
    """What other commands said while a server had the database, and what the server said afterwards."""

    serve: Ended
    migrate: Ended
    check: Ended
    health: Ended
    health_with_a_proxy: Ended
    """With the variable that names a proxy, at which nobody is."""
    still_serves: bool


@pytest.fixture(scope="session")
def meanwhile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meanwhile]:
    """A server and, beside it, the other commands."""
    folder = tmp_path_factory.mktemp("meanwhile")
    with serving(cwd=folder) as server:
        server.call("Identify", identify("u"))
        yield Meanwhile(
            serve=aka("serve", cwd=folder),
            migrate=aka("migrate", cwd=folder),
            check=aka("check", cwd=folder),
            health=aka("health", "--server", server.address, cwd=folder),
            health_with_a_proxy=aka(
                "health",
                "--server",
                server.address,
                cwd=folder,
                env=environment() | {"http_proxy": "http://127.0.0.1:1"},
            ),
            still_serves="found" in str(server.call("Resolve", {"identifiers": [{"id": "u"}]})),
        )
