"""The gateway on a real port, over either of its stubs, and a client of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import uuid_utils

from aka.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from aka.server import keys
from aka.server.domain.rules import Rules
from aka.server.gateway.app import create_app, create_refuse
from aka.server.keys import PERMISSIONS
from aka.server.local_stub import LocalStub
from aka.server.methods import ADMIN_SERVICE, SERVICE, SERVICES
from aka.server.metrics import HttpMetrics
from aka.server.rest_server import RestServer
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.server.spans import Spans
from aka.server.store.sqlite_check import check_file
from aka.v1 import alias_service_pb2 as v1
from aka.v1.alias_service_pb2_grpc import AliasServiceStub
from tests.gateway.described import check_described
from tests.grpc.wire import KEY, Server, serving
from tests.privacy import SUITE

STUBS: Final = ("in process", "over gRPC")

CONNECT: Final = "/aka.v1.AliasService"
"""Where every RPC is, by the Connect protocol."""

ENDPOINTS: Final[dict[str, Any]] = {
    "/v1/users/aliases": {"user_id": "user_123", "alias_id": "legacy_999"},
    "/v1/users": {"user_id": "user_123"},
    "/alias": {"distinct_id": "user_123", "alias_id": "stripe:cus_abc123"},
    "/identify": {"distinct_id": "user_123", "anonymous_id": "session_1"},
    "/track": {"event": "opened", "distinct_id": "user_123"},
    "/users/alias/new": {"user_aliases": [{"alias_label": "crm", "alias_name": "1"}]},
    "/users/identify": {
        "aliases_to_identify": [{"external_id": "user_123", "user_alias": {"alias_label": "crm", "alias_name": "1"}}]
    },
    "/users/track": {"attributes": [{"external_id": "user_123", "plan": "pro"}]},
    "/users/export/ids": {"external_ids": ["user_123"]},
}
"""A good body for every endpoint of the three dialects. (Appizer's are at `/users...` without `/v1` too.)"""


class Trouble:
    """What befalls the next call of a dialect, in place of its work; and the requests that arrived."""

    def __init__(self) -> None:
        self.next: Exception | None = None
        self.holding = False
        self.seen: list[Any] = []

    def end(self) -> None:
        """Let calls be done again, and forget those that were seen."""
        self.next, self.holding = None, False
        self.seen.clear()

    async def meet(self, request: Any) -> None:
        """Note a request, and fail or hold it as told."""
        self.seen.append(request)
        if self.holding:
            await asyncio.Event().wait()
        error, self.next = self.next, None
        if error is not None:
            raise error

    def servicer(self, service: Service, rules: Rules) -> AliasServicer:
        """Return the servicer that this trouble befalls, for `serving`."""
        trouble = self

        class Troubled(AliasServicer):
            async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
                await trouble.meet(request)
                return await super().Alias(request, session)

            async def BatchAlias(self, request: v1.BatchAliasRequest, session: Session) -> v1.BatchAliasResponse:
                await trouble.meet(request)
                return await super().BatchAlias(request, session)

            async def CreateAliases(
                self, request: v1.CreateAliasesRequest, session: Session
            ) -> v1.CreateAliasesResponse:
                await trouble.meet(request)
                return await super().CreateAliases(request, session)

            async def Identify(self, request: v1.IdentifyRequest, session: Session) -> v1.IdentifyResponse:
                await trouble.meet(request)
                return await super().Identify(request, session)

            async def Track(self, request: v1.TrackRequest, session: Session) -> v1.TrackResponse:
                await trouble.meet(request)
                return await super().Track(request, session)

            async def ExportProfiles(
                self, request: v1.ExportProfilesRequest, session: Session
            ) -> v1.ExportProfilesResponse:
                await trouble.meet(request)
                return await super().ExportProfiles(request, session)

        return Troubled(service, rules)


@dataclass(frozen=True)
class Gateway:
    """A gateway, what is behind it, and a client with a key."""

    address: str
    client: httpx.AsyncClient
    server: Server
    trouble: Trouble
    readiness: asyncio.Event
    """Set while what is behind the gateway says that it serves."""
    key: str | None = KEY
    workspace: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_key(self, key: str | None) -> "Gateway":
        """Return a client with another key, or with none."""
        return replace(self, key=key)

    def with_headers(self, **headers: str) -> "Gateway":
        """Return a client that sends these headers too, `_` standing for `-`."""
        return replace(self, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def with_only(self, *permissions: str) -> "Gateway":
        """Return a client in the same workspace whose key has only some permissions."""
        return self.with_key(self.server.add_key(*permissions, workspace=self.workspace))

    def without(self, *permissions: str) -> "Gateway":
        """Return a client in the same workspace whose key lacks some permissions."""
        return self.with_only(*PERMISSIONS.difference(permissions))

    async def send(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        """Send a request as it is."""
        sent = dict(self.headers)
        if self.key is not None:
            sent["authorization"] = f"Bearer {self.key}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        SUITE.send(content or b"", self.key or "", sent.get("x-api-key", ""))
        return await self.client.request(method, path, content=content, headers=sent)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Post a JSON value."""
        return await self.send("POST", path, as_json(body), content_type="application/json")

    async def call(self, method: str, body: Any) -> httpx.Response:
        """Call an RPC by the Connect protocol."""
        return await self.post(f"{CONNECT}/{method}", body)

    async def done(self, method: str, body: Any) -> Any:
        """Call an RPC that must succeed, and return its answer."""
        answer = await self.call(method, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def use_up(self) -> None:
        """Use up what the rate limit lets the key do in a window."""
        assert (await self.call("CreateAliases", {"user_aliases": [{}] * 50})).headers["x-ratelimit-remaining"] == "0"

    async def identified(self, *user_ids: str) -> list[str]:
        """Make identified profiles, and return their profile ids."""
        items = [{"external_id": user_id} for user_id in user_ids]
        answer = await self.done("Identify", {"aliases_to_identify": items})
        return [result["profileId"] for result in answer["results"]]

    async def anonymous(self, *anonymous_ids: str) -> list[str]:
        """Make anonymous profiles, and return their profile ids."""
        items = [{"anonymous_id": anonymous_id} for anonymous_id in anonymous_ids]
        answer = await self.done("CreateAliases", {"user_aliases": items})
        return [result["profileId"] for result in answer["results"]]

    async def profiles(self, *ids: str) -> list[str]:
        """Return the profile id of each id, empty where it is nobody's."""
        answer = await self.done("Resolve", {"identifiers": [{"id": id_} for id_ in ids]})
        return [resolution["profileId"] for resolution in answer["resolutions"]]

    async def knows(self, *ids: str) -> list[bool]:
        """Say of each id whether it is anyone's."""
        return [profile_id != "" for profile_id in await self.profiles(*ids)]


def as_json(body: Any) -> bytes:
    """Write a JSON value; ASCII, so that lone surrogates are escaped."""
    return json.dumps(body).encode()


@asynccontextmanager
async def stub_to(kind: str, server: Server, service: str = SERVICE) -> AsyncIterator[Any]:
    """Return a stub of a server, of one of `STUBS`."""
    if kind == "in process":
        yield LocalStub(server.pipeline, SERVICES[service])
    else:
        own = ("grpc.use_local_subchannel_pool", 1)
        async with grpc.aio.insecure_channel(server.address, options=[own]) as channel:
            yield AliasServiceStub(channel) if service == SERVICE else AdminServiceStub(channel)


@asynccontextmanager
async def rest(stub: Any, admin: Any, readiness: asyncio.Event, cors_origins: Sequence[str] = ()) -> AsyncIterator[str]:
    """Serve the gateway over its stubs and return its address."""

    async def ready() -> bool:
        return readiness.is_set()

    metrics = HttpMetrics()
    running = RestServer(create_app(stub, admin, ready, metrics, cors_origins), refuse=create_refuse(metrics))
    address = await running.start("127.0.0.1:0")
    try:
        yield address
    finally:
        await running.stop(1)


@asynccontextmanager
async def gateway_over(
    kind: str,
    database: Path,
    *,
    rate_limit: str = "off",
    max_identifiers: int = 1000,
    clock: Callable[[], float] | None = None,
    spans: Spans | None = None,
    cors_origins: Sequence[str] = (),
) -> AsyncIterator[Gateway]:
    """Serve a database and the gateway to it; the database must be sound afterwards."""
    trouble, readiness = Trouble(), asyncio.Event()
    readiness.set()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serving(
                database,
                rate_limit=rate_limit,
                max_identifiers=max_identifiers,
                servicer=trouble.servicer,
                clock=clock,
                spans=spans,
            )
        )
        stub = await stack.enter_async_context(stub_to(kind, server))
        admin = await stack.enter_async_context(stub_to(kind, server, ADMIN_SERVICE))
        address = await stack.enter_async_context(rest(stub, admin, readiness, cors_origins))
        client = await stack.enter_async_context(client_of(address))
        yield Gateway(address, client, server, trouble, readiness)
    assert check_file(str(database)).faults == []


def client_of(address: str) -> httpx.AsyncClient:
    """Return a client of a gateway that wants every answer to be as the OpenAPI document says."""
    hooks = {"response": [check_described]}
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=30, trust_env=False, event_hooks=hooks)


def new_workspaces(server: Server, count: int) -> list[tuple[str, str]]:
    """Add workspaces at once, each with a key that may do everything, and return their names and keys."""
    made = [(str(uuid_utils.uuid7()), keys.new_secret()) for _ in range(count)]
    with closing(server.connect()) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for name, secret in made:
            connection.execute("INSERT INTO workspaces (name, created_at) VALUES (?, 0)", (name,))
            connection.execute(
                "INSERT INTO api_keys (id, workspace, digest, name, prefix, permissions, created_at)"
                " VALUES (?, (SELECT id FROM workspaces WHERE name = ?), ?, 'test', '', ?, 0)",
                (uuid_utils.uuid7().bytes, name, keys.digest(secret), " ".join(PERMISSIONS)),
            )
        connection.execute("COMMIT")
    return made
