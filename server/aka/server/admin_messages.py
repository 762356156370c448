"""The admin contract's messages as values, and back."""

from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from aka.admin.v1 import admin_service_pb2 as admin_v1
from aka.server.domain.identifiers import checked_text, checked_uuid, uuid_text
from aka.server.errors import field_required, invalid_value
from aka.server.keys import PERMISSIONS
from aka.server.messages import timestamp
from aka.server.page_tokens import page_size, read_token, write_token
from aka.server.store.store import ApiKey, NamedWorkspace

MAX_NAME_BYTES: Final = 100
LAST_SECOND: Final = 253_402_300_799
"""The last that a Timestamp can have: the end of the year 9999."""

_WORKSPACES: Final = "workspaces"
"""What tokens of ListWorkspaces are tied to."""


def create_key(request: admin_v1.CreateKeyRequest) -> tuple[str, frozenset[str], int | None, str]:
    """Read a CreateKeyRequest: name, permissions, when it expires in microseconds, workspace."""
    name = checked_text(request.name, "name", MAX_NAME_BYTES)
    if not request.permissions:
        raise field_required("permissions")
    for index, permission in enumerate(request.permissions):
        if permission not in PERMISSIONS:
            known = ", ".join(sorted(PERMISSIONS))
            raise invalid_value(f"permissions[{index}]", f"is {permission!r}, which is none of {known}")
    expires_at = _microseconds(request.expires_at, "expires_at") if request.HasField("expires_at") else None
    return name, frozenset(request.permissions), expires_at, _workspace(request.workspace)


def list_keys(request: admin_v1.ListKeysRequest) -> tuple[str, bytes, int]:
    """Read a ListKeysRequest: workspace, the key's id to go on after, how many."""
    workspace = _workspace(request.workspace)
    return workspace, read_token(request.page_token, _listed_keys(request), bytes) or b"", page_size(request.page_size)


def revoke_key(request: admin_v1.RevokeKeyRequest) -> bytes:
    """Read a RevokeKeyRequest: the key's id."""
    return checked_uuid(request.key_id, "key_id")


def create_workspace(request: admin_v1.CreateWorkspaceRequest) -> str:
    """Read a CreateWorkspaceRequest: its name."""
    return checked_text(request.name, "name", MAX_NAME_BYTES)


def list_workspaces(request: admin_v1.ListWorkspacesRequest) -> tuple[str, int]:
    """Read a ListWorkspacesRequest: the name to go on after, how many."""
    return read_token(request.page_token, _WORKSPACES, str) or "", page_size(request.page_size)


# Back.


def create_key_response(key: ApiKey, secret: str) -> admin_v1.CreateKeyResponse:
    """Write the answer to a CreateKeyRequest."""
    return admin_v1.CreateKeyResponse(key=_key(key), secret=secret)


def list_keys_response(
    request: admin_v1.ListKeysRequest, found: Sequence[ApiKey], limit: int
) -> admin_v1.ListKeysResponse:
    """Write the answer to a ListKeysRequest; `found` has one more than `limit` where other keys follow."""
    response = admin_v1.ListKeysResponse(keys=map(_key, found[:limit]))
    if len(found) > limit:
        response.next_page_token = write_token(_listed_keys(request), found[limit - 1].id)
    return response


def revoke_key_response(key: ApiKey) -> admin_v1.RevokeKeyResponse:
    """Write the answer to a RevokeKeyRequest."""
    return admin_v1.RevokeKeyResponse(key=_key(key))


def create_workspace_response(key: ApiKey, secret: str) -> admin_v1.CreateWorkspaceResponse:
    """Write the answer to a CreateWorkspaceRequest; `key` is the workspace's first."""
    workspace = admin_v1.Workspace(name=key.workspace_name, created_at=timestamp(key.created_at))
    return admin_v1.CreateWorkspaceResponse(workspace=workspace, key=_key(key), secret=secret)


def list_workspaces_response(found: Sequence[NamedWorkspace], limit: int) -> admin_v1.ListWorkspacesResponse:
    """Write the answer to a ListWorkspacesRequest; `found` has one more than `limit` where others follow."""
    workspaces = [admin_v1.Workspace(name=name, created_at=timestamp(created_at)) for name, created_at in found[:limit]]
    response = admin_v1.ListWorkspacesResponse(workspaces=workspaces)
    if len(found) > limit:
        response.next_page_token = write_token(_WORKSPACES, found[limit - 1].name)
    return response


def _key(key: ApiKey) -> admin_v1.ApiKey:
    return admin_v1.ApiKey(
        key_id=uuid_text(key.id),
        workspace=key.workspace_name,
        name=key.name,
        prefix=key.prefix,
        permissions=sorted(key.permissions),
        created_at=timestamp(key.created_at),
        last_used_at=_optional(key.last_used_at),
        expires_at=_optional(key.expires_at),
        revoked_at=_optional(key.revoked_at),
    )


def _optional(microseconds: int | None) -> Timestamp | None:
    return None if microseconds is None else timestamp(microseconds)


def _microseconds(time: Timestamp, field: str) -> int:
    if not (0 <= time.seconds <= LAST_SECOND and 0 <= time.nanos < 1_000_000_000):
        raise invalid_value(field, "is no time between 1970 and 9999")
    return time.seconds * 1_000_000 + time.nanos // 1000


def _workspace(name: str) -> str:
    return name and checked_text(name, "workspace", MAX_NAME_BYTES)


def _listed_keys(request: admin_v1.ListKeysRequest) -> tuple[str, str]:
    return "keys", request.workspace
