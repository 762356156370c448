"""A fresh database for whoever needs one, of one PostgreSQL that all of a test run's processes share."""

import asyncio
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from tests.postgres.cluster import Cluster

_numbers: Final = count()


def fresh_database() -> str:
    """Make an empty database and return its URL."""
    name = f"aka_test_{os.getpid()}_{next(_numbers)}"
    execute(_server(), f"CREATE DATABASE {name} TEMPLATE template0")
    return urlsplit(_server())._replace(path=f"/{name}").geturl()


def drop_database(url: str) -> None:
    """Drop a database that `fresh_database` made, whoever is connected to it."""
    execute(_server(), f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")


def execute(url: str, *statements: str, timeout: float = 30) -> Sequence[Any]:
    """Run statements on a database and return the last one's rows. (On a thread: the caller may be in a loop.)"""
    rows: list[Any] = []

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=timeout)
        try:
            for statement in statements:
                rows[:] = await connection.fetch(statement)
        finally:
            await connection.close()

    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=guarded)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return rows


@cache
def _server() -> str:
    """Return the URL of the server: `AKA_TEST_POSTGRES_URL`, or a cluster that lives as long as the test run."""
    if given := os.environ.get("AKA_TEST_POSTGRES_URL"):
        return given
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    folder = Path(tempfile.gettempdir()) / f"aka-postgres-{run}"
    folder.mkdir(exist_ok=True)
    with (folder / "starting").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        users = os.open(folder / "users", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(users, fcntl.LOCK_SH)  # until this process ends, however it does
        url = folder / "url"
        if not url.exists():
            cluster = Cluster.create(max_connections="200")
            cluster.start()
            _stop_after_the_last_user(cluster, folder)
            url.write_text(cluster.url())
        return url.read_text()


def _stop_after_the_last_user(cluster: Cluster, folder: Path) -> None:
    stop = f"kill -QUIT {cluster.pid}; sleep 1; rm -rf {folder} {cluster.folder}"
    nothing = subprocess.DEVNULL
    subprocess.run(
        ["sh", "-c", f"flock {folder}/users sh -c '{stop}' &"],
        check=True,
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
    )
