"""API keys and workspaces in PostgreSQL. A change runs in a transaction of its own.

Where a change depends on what is not a row of its own - that there is no key yet, that another operator's is good -
it holds the row `api_keys` of the table `locks`.
"""

import time
from collections.abc import Mapping
from typing import Final

import asyncpg

from aka.server.store.key_rows import (
    NEW_KEY_COLUMNS,
    SELECT_KEYS,
    key_not_found,
    key_of,
    last_operator_key,
    new_key_values,
    workspace_exists,
)
from aka.server.store.store import ApiKey, NamedWorkspace, NewApiKey, Workspace

_HOLD: Final = "SELECT name FROM locks WHERE name = 'api_keys' FOR UPDATE"


async def find_key(connection: asyncpg.Connection, digest: bytes) -> ApiKey | None:
    """Return the key with this SHA-256."""
    row = await connection.fetchrow(f"{SELECT_KEYS} WHERE k.digest = $1", digest)
    return None if row is None else key_of(row)


async def load_keys(connection: asyncpg.Connection, workspace: Workspace, after: bytes, limit: int) -> list[ApiKey]:
    """Return a workspace's keys with greater ids than `after`, at most `limit`."""
    query = f"{SELECT_KEYS} WHERE k.workspace = $1 AND k.id > $2 ORDER BY k.id LIMIT $3"
    return list(map(key_of, await connection.fetch(query, workspace, after, limit)))


async def add_key(connection: asyncpg.Connection, workspace: Workspace, key: NewApiKey) -> ApiKey:
    """Add a key to a workspace that is there."""
    await connection.execute(
        f"INSERT INTO api_keys ({NEW_KEY_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *new_key_values(workspace, key, time.time_ns() // 1000),
    )
    return await _key_of_id(connection, key.id)


async def add_first_key(connection: asyncpg.Connection, workspace: str, key: NewApiKey) -> bool:
    """Add a key, and its workspace if need be, where there is no key at all; say whether it was added."""
    await connection.execute(_HOLD)
    if await connection.fetchrow("SELECT 1 FROM api_keys LIMIT 1"):
        return False
    found = await find_workspace(connection, workspace)
    await add_key(connection, await _insert_workspace(connection, workspace) if found is None else found, key)
    return True


async def revoke_key(connection: asyncpg.Connection, key_id: bytes, within: Workspace | None) -> ApiKey:
    """Revoke a key, and return it; KEY_NOT_FOUND, LAST_OPERATOR_KEY."""
    await connection.execute(_HOLD)
    row = await connection.fetchrow(
        f"{SELECT_KEYS} WHERE k.id = $1 AND k.workspace = coalesce($2::bigint, k.workspace)", key_id, within
    )
    if row is None:
        raise key_not_found(key_id)
    key = key_of(row)
    now = time.time_ns() // 1000
    if key.revoked_at is not None:
        return key
    if key.is_good(now) and "operator" in key.permissions and not await _has_another_operator(connection, key_id, now):
        raise last_operator_key()
    await connection.execute("UPDATE api_keys SET revoked_at = $2 WHERE id = $1", key_id, now)
    return await _key_of_id(connection, key_id)


async def note_uses(connection: asyncpg.Connection, uses: Mapping[bytes, int]) -> None:
    """Write when keys, by their ids, were last used."""
    await connection.execute(_HOLD)  # or servers that write the same keys in another order would wait for each other
    await connection.executemany(
        "UPDATE api_keys SET last_used_at = greatest(last_used_at, $2) WHERE id = $1", list(uses.items())
    )


async def find_workspace(connection: asyncpg.Connection, name: str) -> Workspace | None:
    """Return the workspace of this name."""
    number = await connection.fetchval("SELECT id FROM workspaces WHERE name = $1", name)
    return None if number is None else Workspace(number)


async def load_workspaces(connection: asyncpg.Connection, after: str, limit: int) -> list[NamedWorkspace]:
    """Return the workspaces with greater names than `after`, at most `limit`."""
    query = "SELECT name, created_at FROM workspaces WHERE name > $1 ORDER BY name LIMIT $2"
    return [NamedWorkspace(*row) for row in await connection.fetch(query, after, limit)]


async def add_workspace(connection: asyncpg.Connection, name: str, first: NewApiKey) -> ApiKey:
    """Add a workspace and its first key; WORKSPACE_EXISTS."""
    await connection.execute(_HOLD)
    if await find_workspace(connection, name) is not None:
        raise workspace_exists(name)
    return await add_key(connection, await _insert_workspace(connection, name), first)


async def _insert_workspace(connection: asyncpg.Connection, name: str) -> Workspace:
    query = "INSERT INTO workspaces (name, created_at) VALUES ($1, $2) RETURNING id"
    return Workspace(await connection.fetchval(query, name, time.time_ns() // 1000))


async def _has_another_operator(connection: asyncpg.Connection, key_id: bytes, now: int) -> bool:
    query = (
        "SELECT 1 FROM api_keys WHERE id <> $1 AND ' ' || permissions || ' ' LIKE '% operator %'"
        " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2) LIMIT 1"
    )
    return await connection.fetchrow(query, key_id, now) is not None


async def _key_of_id(connection: asyncpg.Connection, key_id: bytes) -> ApiKey:
    row = await connection.fetchrow(f"{SELECT_KEYS} WHERE k.id = $1", key_id)
    assert row is not None, "it was just written"
    return key_of(row)
