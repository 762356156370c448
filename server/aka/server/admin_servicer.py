"""The admin service's face: each RPC translates its request, makes one call, and translates the answer."""

from aka.admin.v1 import admin_service_pb2 as admin_v1
from aka.server import admin_messages
from aka.server.admin_service import AdminService
from aka.server.service import Session


class AdminServicer:
    """The RPCs of aka.admin.v1.AdminService, for whatever transport the pipeline serves."""

    def __init__(self, service: AdminService) -> None:
        self._service = service

    async def CreateKey(self, request: admin_v1.CreateKeyRequest, session: Session) -> admin_v1.CreateKeyResponse:
        """Make an API key."""
        asked = admin_messages.create_key(request)
        return admin_messages.create_key_response(*await self._service.create_key(session, *asked))

    async def ListKeys(self, request: admin_v1.ListKeysRequest, session: Session) -> admin_v1.ListKeysResponse:
        """List a page of a workspace's keys."""
        workspace, after, limit = admin_messages.list_keys(request)
        found = await self._service.list_keys(session, workspace, after, limit + 1)
        return admin_messages.list_keys_response(request, found, limit)

    async def RevokeKey(self, request: admin_v1.RevokeKeyRequest, session: Session) -> admin_v1.RevokeKeyResponse:
        """Revoke a key."""
        key_id = admin_messages.revoke_key(request)
        return admin_messages.revoke_key_response(await self._service.revoke_key(session, key_id))

    async def CreateWorkspace(
        self, request: admin_v1.CreateWorkspaceRequest, session: Session
    ) -> admin_v1.CreateWorkspaceResponse:
        """Make a workspace and its first key."""
        name = admin_messages.create_workspace(request)
        return admin_messages.create_workspace_response(*await self._service.create_workspace(session, name))

    async def ListWorkspaces(
        self, request: admin_v1.ListWorkspacesRequest, session: Session
    ) -> admin_v1.ListWorkspacesResponse:
        """List a page of the workspaces."""
        after, limit = admin_messages.list_workspaces(request)
        found = await self._service.list_workspaces(after, limit + 1)
        return admin_messages.list_workspaces_response(found, limit)
