"""API keys and workspaces in SQLite. A change runs in the writer's transaction, and where it raises wrote nothing."""

import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from aka.server.domain.identifiers import uuid_text
from aka.server.errors import AkaError
from aka.server.store.store import ApiKey, NamedWorkspace, NewApiKey, Workspace
from aka.v1 import alias_service_pb2 as v1

_KEYS: Final = (
    "SELECT k.id, k.workspace, w.name, k.name, k.prefix, k.permissions, k.created_at, k.last_used_at, k.expires_at,"
    " k.revoked_at FROM api_keys k JOIN workspaces w ON w.id = k.workspace"
)


def find_key(connection: sqlite3.Connection, digest: bytes) -> ApiKey | None:
    """Return the key with this SHA-256."""
    row = connection.execute(f"{_KEYS} WHERE k.digest = ?", (digest,)).fetchone()
    return None if row is None else _key(row)


def load_keys(connection: sqlite3.Connection, workspace: Workspace, after: bytes, limit: int) -> list[ApiKey]:
    """Return a workspace's keys with greater ids than `after`, at most `limit`."""
    query = f"{_KEYS} WHERE k.workspace = ? AND k.id > ? ORDER BY k.id LIMIT ?"
    return [_key(row) for row in connection.execute(query, (workspace, after, limit))]


def add_key(connection: sqlite3.Connection, workspace: Workspace, key: NewApiKey) -> ApiKey:
    """Add a key to a workspace that is there."""
    connection.execute(
        "INSERT INTO api_keys (id, workspace, digest, name, prefix, permissions, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            workspace,
            key.digest,
            key.name,
            key.prefix,
            " ".join(sorted(key.permissions)),
            time.time_ns() // 1000,
            key.expires_at,
        ),
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
        f"{_KEYS} WHERE k.id = ? AND k.workspace = coalesce(?, k.workspace)", (key_id, within)
    ).fetchone()
    if row is None:
        shown = uuid_text(key_id)
        raise AkaError(v1.ERROR_REASON_KEY_NOT_FOUND, f"No API key has the key_id {shown!r}", key_id=shown)
    key = _key(row)
    now = time.time_ns() // 1000
    if key.revoked_at is not None:
        return key
    if key.is_good(now) and "operator" in key.permissions and not _has_another_operator(connection, key_id, now):
        raise AkaError(
            v1.ERROR_REASON_LAST_OPERATOR_KEY,
            "The key is the last good one with the permission operator; create another before this one is revoked",
        )
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
        why = f"A workspace has the name {name!r} already; choose another"
        raise AkaError(v1.ERROR_REASON_WORKSPACE_EXISTS, why, workspace=name)
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
    return _key(connection.execute(f"{_KEYS} WHERE k.id = ?", (key_id,)).fetchone())


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, workspace, workspace_name, name, prefix, permissions, *times = row
    return ApiKey(key_id, workspace, workspace_name, name, prefix, frozenset(permissions.split()), *times)
