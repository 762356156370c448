"""The database that the settings name, whatever its kind: opened, migrated, checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aka.server.store.audit import Report
from aka.server.store.postgres_url import Database, PostgresOptions, PostgresUrl
from aka.server.store.schema import Migration
from aka.server.store.sqlite import SqliteStore
from aka.server.store.sqlite_check import check_file
from aka.server.store.sqlite_migrations import migrate_file
from aka.server.store.store import CannotOpen, Store

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans


async def open_store(
    database: Database, options: PostgresOptions, spans: Spans | None = None, *, kept_resolutions: int = 0
) -> Store:
    """Open the database, made and brought up to date where need be; CannotOpen where that cannot be."""
    if not isinstance(database, PostgresUrl):
        return await SqliteStore.open(database, spans, kept_resolutions=kept_resolutions)
    with _driver():
        from aka.server.store.postgres import PostgresStore
    return await PostgresStore.open(database, options, spans)


def migrate_database(database: Database, *, apply: bool) -> list[Migration]:
    """Return the migrations that a database lacks, having applied them if asked to; CannotOpen where that cannot be."""
    if not isinstance(database, PostgresUrl):
        return migrate_file(database, apply=apply)
    with _driver():
        from aka.server.store.postgres_database import on_database
        from aka.server.store.postgres_migrations import migrate, pending
    return asyncio.run(on_database(database, migrate if apply else pending))


def check_database(database: Database) -> Report:
    """Check a database, beside the servers that use it or without one; CannotOpen where there is nothing to check."""
    if not isinstance(database, PostgresUrl):
        return check_file(database)
    with _driver():
        from aka.server.store.postgres_check import check
        from aka.server.store.postgres_database import on_database
    return asyncio.run(on_database(database, check))


@contextmanager
def _driver() -> Iterator[None]:
    """Import what needs the driver, which is in an extra; CannotOpen where that is not installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name != "asyncpg":
            raise
        raise CannotOpen("PostgreSQL needs the driver asyncpg: pip install 'aka[server,postgres]'") from None
