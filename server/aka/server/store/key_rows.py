"""API keys and workspaces as rows of their tables, and what refuses a change of them, for every backend."""

from collections.abc import Iterable
from typing import Any, Final

from aka.server.domain.identifiers import uuid_text
from aka.server.errors import AkaError
from aka.server.store.store import ApiKey, NewApiKey, Workspace
from aka.v1 import alias_service_pb2 as v1

SELECT_KEYS: Final = (
    "SELECT k.id, k.workspace, w.name, k.name, k.prefix, k.permissions, k.created_at, k.last_used_at, k.expires_at,"
    " k.revoked_at FROM api_keys k JOIN workspaces w ON w.id = k.workspace"
)
NEW_KEY_COLUMNS: Final = "id, workspace, digest, name, prefix, permissions, created_at, expires_at"


def key_of(row: Iterable[Any]) -> ApiKey:
    """Return the key that a row of `SELECT_KEYS` tells."""
    key_id, workspace, workspace_name, name, prefix, permissions, *times = row
    return ApiKey(key_id, workspace, workspace_name, name, prefix, frozenset(permissions.split()), *times)


def new_key_values(workspace: Workspace, key: NewApiKey, now: int) -> tuple[Any, ...]:
    """Return a new key's values of `NEW_KEY_COLUMNS`."""
    permissions = " ".join(sorted(key.permissions))
    return key.id, workspace, key.digest, key.name, key.prefix, permissions, now, key.expires_at


def key_not_found(key_id: bytes) -> AkaError:
    """Say that no key has this id."""
    shown = uuid_text(key_id)
    return AkaError(v1.ERROR_REASON_KEY_NOT_FOUND, f"No API key has the key_id {shown!r}", key_id=shown)


def last_operator_key() -> AkaError:
    """Say that a key cannot be revoked since it is the last of its kind."""
    return AkaError(
        v1.ERROR_REASON_LAST_OPERATOR_KEY,
        "The key is the last good one with the permission operator; create another before this one is revoked",
    )


def workspace_exists(name: str) -> AkaError:
    """Say that a name is taken."""
    why = f"A workspace has the name {name!r} already; choose another"
    return AkaError(v1.ERROR_REASON_WORKSPACE_EXISTS, why, workspace=name)
