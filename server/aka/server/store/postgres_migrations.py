"""The tables of a PostgreSQL database, made and brought up to date by numbered migrations.

Servers that start at once apply them one after the other, by the row `migrations` of the table `locks`. A migration
must leave the tables such that the aka before it goes on (it *expands*); one that takes away what that aka needs is
named `contract_...`, comes a version later, and stops an aka that does not know it from starting.
"""

import time
from typing import Final

import asyncpg

from aka.server.store.schema import Migration, lacking, read_migrations, too_new
from aka.server.store.store import CannotOpen

CONTRACT: Final = "contract_"
"""How the name of a migration begins that older versions of aka cannot do with."""

_PREPARE: Final = """
    CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL, applied_at bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS locks (name text PRIMARY KEY);
    INSERT INTO locks (name) VALUES ('migrations') ON CONFLICT DO NOTHING;
"""
_HOLD: Final = "SELECT name FROM locks WHERE name = 'migrations' FOR UPDATE"
_TABLES: Final = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"


def migrations() -> list[Migration]:
    """Return all migrations that this aka knows, in order."""
    return read_migrations("postgres")


async def pending(connection: asyncpg.Connection) -> list[Migration]:
    """Return what `migrate` would apply; CannotOpen where the database is too new for this aka, or not aka's."""
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise CannotOpen(f"the database's encoding is {encoding}; aka needs UTF8")
    if await connection.fetchval("SELECT current_schema()") is None:
        raise CannotOpen("the schema that search_path names does not exist; create it")
    tables = {name for (name,) in await connection.fetch(_TABLES)}
    if tables and "migrations" not in tables:
        raise CannotOpen("the schema holds tables that are not aka's; name another database, or another search_path")
    rows = await connection.fetch("SELECT number, name FROM migrations") if tables else []
    known = migrations()
    numbers = {number for number, _, _ in known}
    breaking = [number for number, name in rows if number not in numbers and name.startswith(CONTRACT)]
    if breaking:
        raise too_new(max(breaking), known)
    return lacking(known, {number for number, _ in rows})


async def migrate(connection: asyncpg.Connection) -> list[Migration]:
    """Apply what is pending, each in a transaction of its own, and return it."""
    if not await pending(connection):  # as nearly always; nothing is written then
        return []
    await _prepare(connection)
    done: list[Migration] = []
    while True:
        async with connection.transaction():
            await connection.execute(_HOLD)
            todo = await pending(connection)
            if not todo:
                return done
            number, name, sql = todo[0]
            await connection.execute(sql)
            await connection.execute("INSERT INTO migrations VALUES ($1, $2, $3)", number, name, time.time_ns() // 1000)
        done.append(todo[0])


async def _prepare(connection: asyncpg.Connection) -> None:
    """Make what migrating itself needs. (Where two do so at once, IF NOT EXISTS fails; then the other's is there.)"""
    try:
        async with connection.transaction():
            await connection.execute(_PREPARE)
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
        async with connection.transaction():
            await connection.execute(_PREPARE)
