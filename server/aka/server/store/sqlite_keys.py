"""API keys and workspaces in SQLite. A change runs in the writer's transaction, and where it raises wrote nothing."""

import sqlite3
import time
from collections.abc import Mapping

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


def find_key(connection: sqlite3.Connection, digest: bytes) -> ApiKey | None:
    """Return the key with this SHA-256."""
    row = connection.execute(f"{SELECT_KEYS} WHERE k.digest = ?", (digest,)).fetchone()
    return None if row is None else key_of(row)


def load_keys(connection: sqlite3.Connection, workspace: Workspace, after: bytes, limit: int) -> list[ApiKey]:
    """Return a workspace's keys with greater ids than `after`, at most `limit`."""
    query = f"{SELECT_KEYS} WHERE k.workspace = ? AND k.id > ? ORDER BY k.id LIMIT ?"
    return [key_of(row) for row in connection.execute(query, (workspace, after, limit))]


def add_key(connection: sqlite3.Connection, workspace: Workspace, key: NewApiKey) -> ApiKey:
    """Add a key to a workspace that is there."""
    connection.execute(
        f"INSERT INTO api_keys ({NEW_KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        new_key_values(workspace, key, time.time_ns() // 1000),
    )
    return _key_of_id(connection, key.id)


def add_first_key(connection: sqlite3.Connection, workspace: str, key: NewApiKey) -> bool:
    """Add a key, and its workspace if need be, where there is no key at all; say whether it was added."""
    if connection.execute("SELECT 1 FROM api_keys LIMIT 1").fetchone():
        return False
    found = find_workspace(connection, workspace)
    add_key(connection, _insert_workspace(connection, workspace) if found is None else found, key)
    return True


def revoke_key(connection: sqlite3.Connection, key_id: bytes, within: Workspace | None) -> ApiKey:
    """Revoke a key, and return it; KEY_NOT_FOUND, LAST_OPERATOR_KEY."""
    row = connection.execute(
        f"{SELECT_KEYS} WHERE k.id = ? AND k.workspace = coalesce(?, k.workspace)", (key_id, within)
    ).fetchone()
    if row is None:
        raise key_not_found(key_id)
    key = key_of(row)
    now = time.time_ns() // 1000
    if key.revoked_at is not None:
        return key
    if key.is_good(now) and "operator" in key.permissions and not _has_another_operator(connection, key_id, now):
        raise last_operator_key()
    connection.execute("UPDATE api_keys SET revoked_at = ? WHERE id = ?", (now, key_id))
    return _key_of_id(connection, key_id)


def note_uses(connection: sqlite3.Connection, uses: Mapping[bytes, int]) -> None:
    """Write when keys, by their ids, were last used."""
    connection.executemany(
        "UPDATE api_keys SET last_used_at = max(ifnull(last_used_at, 0), ?2) WHERE id = ?1", list(uses.items())
    )


def find_workspace(connection: sqlite3.Connection, name: str) -> Workspace | None:
    """Return the workspace of this name."""
    row = connection.execute("SELECT id FROM workspaces WHERE name = ?", (name,)).fetchone()
    return None if row is None else Workspace(row[0])


def load_workspaces(connection: sqlite3.Connection, after: str, limit: int) -> list[NamedWorkspace]:
    """Return the workspaces with greater names than `after`, at most `limit`."""
    query = "SELECT name, created_at FROM workspaces WHERE name > ? ORDER BY name LIMIT ?"
    return [NamedWorkspace(*row) for row in connection.execute(query, (after, limit))]


def add_workspace(connection: sqlite3.Connection, name: str, first: NewApiKey) -> ApiKey:
    """Add a workspace and its first key; WORKSPACE_EXISTS."""
    if find_workspace(connection, name) is not None:
        raise workspace_exists(name)
    return add_key(connection, _insert_workspace(connection, name), first)


def _insert_workspace(connection: sqlite3.Connection, name: str) -> Workspace:
    query = "INSERT INTO workspaces (name, created_at) VALUES (?, ?) RETURNING id"
    return Workspace(connection.execute(query, (name, time.time_ns() // 1000)).fetchone()[0])


def _has_another_operator(connection: sqlite3.Connection, key_id: bytes, now: int) -> bool:
    query = (
        "SELECT 1 FROM api_keys WHERE id <> ? AND instr(' ' || permissions || ' ', ' operator ')"
        " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?) LIMIT 1"
    )
    return connection.execute(query, (key_id, now)).fetchone() is not None


def _key_of_id(connection: sqlite3.Connection, key_id: bytes) -> ApiKey:
    return key_of(connection.execute(f"{SELECT_KEYS} WHERE k.id = ?", (key_id,)).fetchone())
