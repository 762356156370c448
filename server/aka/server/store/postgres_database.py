"""A PostgreSQL database that is worked on for as long as it takes: migrated, checked."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from aka.server.store.postgres_connection import OUTAGES, connect
from aka.server.store.postgres_url import PostgresUrl
from aka.server.store.store import CannotOpen

T = TypeVar("T")

OLDEST: Final = 14
"""The oldest PostgreSQL that aka was run with."""


async def on_database(url: PostgresUrl, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Return what `work` does on a connection of its own, however long it takes; CannotOpen where that cannot be."""
    try:
        connection = await connect(url)
        try:
            version = connection.get_server_version()
            if version.major < OLDEST:
                raise CannotOpen(f"it is PostgreSQL {version.major}; aka needs {OLDEST} or newer")
            return await work(connection)
        finally:
            connection.terminate()
    except CannotOpen as error:
        raise CannotOpen(f"{url} cannot be used: {error}") from error
    except (*OUTAGES, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        [why, *_] = str(error).splitlines() or [type(error).__name__]
        raise CannotOpen(f"{url} cannot be used: {why}") from error
