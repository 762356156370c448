"""The use cases of administration: API keys and workspaces."""

import time
from collections.abc import Sequence
from typing import Final

from aka.server import keys
from aka.server.domain.identifiers import uuid_text
from aka.server.errors import AkaError, invalid_value
from aka.server.keys import KeyRing
from aka.server.logs import log
from aka.server.service import Session
from aka.server.store.store import ApiKey, NamedWorkspace, Store, Workspace
from aka.v1 import alias_service_pb2 as v1

FIRST: Final = "first"
"""The name of a workspace's first key."""


class AdminService:
    """Makes, lists and revokes API keys, and makes and lists workspaces, as far as a session's key may."""

    def __init__(self, store: Store, ring: KeyRing) -> None:
        self._store = store
        self._ring = ring

    async def create_key(
        self, session: Session, name: str, permissions: frozenset[str], expires_at: int | None, workspace: str
    ) -> tuple[ApiKey, str]:
        """Return a new key and its secret.

        PERMISSION_MISSING where the session's key has not all that it would grant. INVALID_VALUE where the key would be
        born expired. `workspace` as in `list_keys`.
        """
        if expires_at is not None and expires_at <= time.time_ns() // 1000:
            raise invalid_value("expires_at", "is not in the future")
        for permission in sorted(permissions - session.key.permissions):
            raise _permission_missing(permission, "so it cannot grant it")
        number = await self._find(session, workspace)
        secret = keys.new_secret()
        key = await self._store.add_api_key(number, keys.new_key(secret, name, permissions, expires_at))
        _log(session, "API key created", key)
        return key, secret

    async def list_keys(self, session: Session, workspace: str, after: bytes, limit: int) -> Sequence[ApiKey]:
        """Return a workspace's keys with greater ids than `after`, at most `limit`.

        The workspace is the session's own where `workspace` is empty. PERMISSION_MISSING where it is not and the
        session's key is no operator's; WORKSPACE_NOT_FOUND.
        """
        return await self._store.list_api_keys(await self._find(session, workspace), after, limit)

    async def revoke_key(self, session: Session, key_id: bytes) -> ApiKey:
        """Revoke a key, which holds here at once, and return it. KEY_NOT_FOUND, LAST_OPERATOR_KEY."""
        within = None if session.may("operator") else session.key.workspace
        key = await self._store.revoke_api_key(key_id, within)
        self._ring.forget(key_id)
        _log(session, "API key revoked", key)
        return key

    async def create_workspace(self, session: Session, name: str) -> tuple[ApiKey, str]:
        """Make a workspace and return its first key, with the secret. WORKSPACE_EXISTS.

        PERMISSION_MISSING where the session's key has nothing beside `operator`, which is not passed on.
        """
        permissions = session.key.permissions - {"operator"}
        if not permissions:
            raise _permission_missing("keys.admin", "and has none to grant to the first key of a workspace")
        secret = keys.new_secret()
        key = await self._store.add_workspace(name, keys.new_key(secret, FIRST, permissions))
        _log(session, "workspace created", key)
        return key, secret

    async def list_workspaces(self, after: str, limit: int) -> Sequence[NamedWorkspace]:
        """Return the workspaces with greater names than `after`, at most `limit`."""
        return await self._store.list_workspaces(after, limit)

    async def _find(self, session: Session, workspace: str) -> Workspace:
        if not workspace:
            return session.key.workspace
        if not session.may("operator"):
            raise _permission_missing("operator", "which is needed where a workspace is named")
        found = await self._store.find_workspace(workspace)
        if found is None:
            why = f"No workspace has the name {workspace!r}"
            raise AkaError(v1.ERROR_REASON_WORKSPACE_NOT_FOUND, why, workspace=workspace)
        return found


def _permission_missing(permission: str, why: str) -> AkaError:
    return AkaError(
        v1.ERROR_REASON_PERMISSION_MISSING,
        f"The API key lacks the permission {permission}, {why}",
        permission=permission,
    )


def _log(session: Session, event: str, key: ApiKey) -> None:
    log.info(event, key=uuid_text(key.id), by=uuid_text(session.key.id), request_id=session.request_id)
