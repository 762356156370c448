"""Calls of the admin service from a command: of a running server, or straight on a database that no server has."""

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from aka.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from aka.server import logs
from aka.server.admin_service import AdminService
from aka.server.admin_servicer import AdminServicer
from aka.server.client_channel import ServerTls, client_channel
from aka.server.errors import AkaError
from aka.server.keys import PERMISSIONS, KeyRing
from aka.server.methods import ADMIN_METHODS
from aka.server.request_ids import given_or_new
from aka.server.service import Session
from aka.server.store.databases import migrate_database, open_store
from aka.server.store.postgres_url import Database, PostgresOptions
from aka.server.store.store import ApiKey, CannotOpen, Workspace

SECONDS: Final = 30.0
"""What a call of a server may take."""

OWNER: Final = ApiKey(
    id=bytes(16),
    workspace=Workspace(0),
    workspace_name="",
    name="owner",
    prefix="",
    permissions=PERMISSIONS,
    created_at=0,
    last_used_at=None,
    expires_at=None,
    revoked_at=None,
)
"""Who has the file may do everything. (No key of the store: it belongs to no workspace, so calls must name one.)"""


class CallFailed(Exception):
    """A call that was not done; the message is one line for the operator."""


def call_server(address: str, key: str, tls: ServerTls | None, name: str, request: Message) -> Any:
    """Return a server's answer; CallFailed where it has none."""
    with client_channel(address, tls) as channel:
        rpc = getattr(AdminServiceStub(channel), name)
        try:
            return rpc(request, metadata=(("authorization", f"Bearer {key}"),), timeout=SECONDS)
        except grpc.RpcError as error:
            raise CallFailed(f"{address}: {_reason(error)}: {error.details()}") from None


def call_database(database: Database, name: str, request: Message) -> Any:
    """Return what a server would answer to a key that may do everything; CallFailed where there is no answer.

    The database must be there, up to date, and, where it is a SQLite file, no server's.
    """
    if isinstance(database, str) and not Path(database).exists():
        raise CallFailed(f"{database} does not exist; `aka serve` and `aka migrate` make a database")
    logs.set_up("warning", None)
    try:
        if migrate_database(database, apply=False):
            raise CallFailed(f"{database} has tables of an older aka; bring them up to date with `aka migrate`")
        return asyncio.run(_call_database(database, name, request))
    except (CannotOpen, AkaError) as error:
        raise CallFailed(str(error)) from None


async def _call_database(database: Database, name: str, request: Message) -> Message:
    store = await open_store(database, PostgresOptions())
    try:
        servicer = AdminServicer(AdminService(store, KeyRing(store)))
        session = Session(ADMIN_METHODS[name], OWNER, given_or_new(None), deadline=None)
        answer: Message = await getattr(servicer, name)(request, session)
        return answer
    finally:
        await store.close()


def _reason(error: grpc.RpcError) -> str:
    """Return aka's reason of an error, or grpc's code where it is none of aka's."""
    info = ErrorInfo()
    trailers: Any = error.trailing_metadata() or ()
    for name, value in trailers:
        if name == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return str(error.code().name)
