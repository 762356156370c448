"""The integrity check of PostgreSQL: a database's rows against each other, and against what the journal adds up to."""

from collections.abc import AsyncIterator, Iterable
from typing import Final

import asyncpg

from aka.server.domain.identifiers import uuid_text
from aka.server.store.audit import IDENTIFIER_COLUMNS, PROFILE_COLUMNS, Audit, Report, profile_faults, shown
from aka.server.store.postgres_changes import read_journal
from aka.server.store.postgres_connection import SNAPSHOT
from aka.server.store.postgres_migrations import pending
from aka.server.store.store import CannotOpen, Workspace

_PROFILE_FAULTS: Final = profile_faults(differs="IS DISTINCT FROM")


async def check(connection: asyncpg.Connection) -> Report:
    """Check a database as of one moment, beside the servers that use it; CannotOpen where it lacks migrations.

    One workspace's journal and rows are held in memory at a time.
    """
    await connection.execute(SNAPSHOT)
    if await pending(connection):
        raise CannotOpen("it lacks migrations; run `aka migrate` first")
    profiles = await connection.fetchval("SELECT count(*) FROM profiles")
    identifiers = await connection.fetchval("SELECT count(*) FROM identifiers")
    faults = [line async for kind in _faults(connection) for line in shown(kind)]
    await connection.execute("ROLLBACK")
    return Report(f"{profiles} profiles, {identifiers} identifiers", faults)


async def _faults(connection: asyncpg.Connection) -> AsyncIterator[Iterable[str]]:
    """Return the faults, each kind by itself."""
    for fault, query in _PROFILE_FAULTS.items():
        found = await connection.fetch(query)
        yield (f"workspace {workspace}, profile {uuid_text(profile)}: {fault}" for workspace, profile in found)
    for (workspace,) in await connection.fetch("SELECT id FROM workspaces ORDER BY id"):
        yield [f"workspace {workspace}, {fault}" for fault in await _journal_faults(connection, workspace)]


async def _journal_faults(connection: asyncpg.Connection, workspace: Workspace) -> list[str]:
    """Compare every row with what the journal adds up to."""
    audit = Audit()
    async for sequence, at, change in read_journal(connection, workspace):
        if not audit.adds_up(change, at):
            return [f"journal {sequence}: it does not fit what the entries before it add up to"]
    return list(
        audit.compare(
            await connection.fetch(f"SELECT {PROFILE_COLUMNS} FROM profiles WHERE workspace = $1", workspace),
            await connection.fetch(f"SELECT {IDENTIFIER_COLUMNS} FROM identifiers WHERE workspace = $1", workspace),
        )
    )
