"""The stores that the suite holds to the promises of `Store`, each opened empty and checked at the end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol, Self

import asyncpg

from aka.server.store.postgres import PostgresStore
from aka.server.store.postgres_check import check
from aka.server.store.postgres_connection import connect
from aka.server.store.postgres_url import PostgresOptions, PostgresUrl
from aka.server.store.sqlite import SqliteStore
from aka.server.store.sqlite_check import check_file
from aka.server.store.sqlite_file import MEMORY
from aka.server.store.store import Store, Workspace
from tests.postgres.databases import fresh_database


class Backend(Protocol):
    """An open store, and what the protocol has no word for."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    async def add_workspace(self, name: str) -> Workspace:
        """Make a tenant."""
        ...

    async def close(self) -> list[str]:
        """Close the store and return what its integrity check finds wrong. A second time it does nothing."""
        ...


@dataclass
class Sqlite:
    """A SQLite file, or memory, which is copied to a file to be checked."""

    store: SqliteStore
    file: Path
    in_memory: bool
    closed: bool = False

    @classmethod
    async def on_disk(cls, folder: Path) -> Self:
        file = folder / "aka.db"
        return cls(await SqliteStore.open(str(file), kept_resolutions=16), file, in_memory=False)

    @classmethod
    async def of_memory(cls, folder: Path) -> Self:
        return cls(await SqliteStore.open(MEMORY), folder / "copy.db", in_memory=True)

    async def add_workspace(self, name: str) -> Workspace:
        statement = "INSERT INTO workspaces (name, created_at) VALUES (?, 0) RETURNING id"
        [number] = await self.store._writer.run(lambda connection: connection.execute(statement, (name,)).fetchone())
        return Workspace(number)

    async def close(self) -> list[str]:
        if self.closed:
            return []
        self.closed = True
        try:
            if self.in_memory:
                await self.store._writer.run(lambda connection: connection.execute("VACUUM INTO ?", (str(self.file),)))
        finally:
            await self.store.close()
        return check_file(str(self.file)).faults


@dataclass
class Postgres:
    """A database of PostgreSQL that is this process's own, emptied before each use."""

    store: PostgresStore
    url: PostgresUrl
    beside: asyncpg.Connection
    """A connection of the tests' own."""
    closed: bool = False

    @classmethod
    async def empty(cls, _: Path) -> Self:
        url = PostgresUrl.parse(_own_database())
        store = await PostgresStore.open(url, PostgresOptions())
        beside = await connect(url)
        await beside.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))
        return cls(store, url, beside)

    async def add_workspace(self, name: str) -> Workspace:
        statement = "INSERT INTO workspaces (name, created_at) VALUES ($1, 0) RETURNING id"
        return Workspace(await self.beside.fetchval(statement, name))

    async def close(self) -> list[str]:
        if self.closed:
            return []
        self.closed = True
        await self.store.close()
        try:
            return (await check(self.beside)).faults
        finally:
            self.beside.terminate()


TABLES: Final = (
    "activities",
    "push_tokens",
    "attributes",
    "answers",
    "journal",
    "identifiers",
    "profiles",
    "api_keys",
    "workspaces",
)


@cache
def _own_database() -> str:
    return fresh_database()


BACKENDS: Final[dict[str, Callable[[Path], Awaitable[Backend]]]] = {
    "postgres": Postgres.empty,
    "sqlite": Sqlite.on_disk,
    "sqlite-memory": Sqlite.of_memory,
}
