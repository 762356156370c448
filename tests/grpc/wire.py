"""A real server on a real port, and a client that shows its answers as plain dicts."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import uuid_utils
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from aka.server import bootstrap, keys
from aka.server.admin_service import AdminService
from aka.server.admin_servicer import AdminServicer
from aka.server.certificates import Certificates
from aka.server.domain.rules import Rules
from aka.server.grpc_server import GrpcServer
from aka.server.keys import PERMISSIONS, KeyRing
from aka.server.limits import Limiter, RateLimit
from aka.server.methods import ADMIN_SERVICE, SERVICE, SERVICES
from aka.server.pipeline import Pipeline
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.server.spans import Spans
from aka.server.store.sqlite import SqliteStore
from aka.v1 import alias_service_pb2 as v1
from tests.privacy import SUITE

RPCS = {name: method for methods in SERVICES.values() for name, method in methods.items()}
"""The methods of all services by their names, which no two share."""

KEY = "the-key-that-opens-all"
"""What the server of `serving` was given as its first key."""

UNKNOWN_UUID = "01890000-0000-7000-8000-000000000000"
"""No profile's id."""

Body = Mapping[str, Any] | Message | bytes
Metadata = tuple[tuple[str, str | bytes], ...]


class Refused(Exception):
    """A call's error, with its details taken apart."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        super().__init__(error.code(), error.details())
        self.code = error.code()
        self.message = error.details() or ""
        self.trailers = dict([*(error.trailing_metadata() or ())])
        self.status = Status.FromString(self.trailers.get("grpc-status-details-bin", b""))
        self.info = _detail(self.status, ErrorInfo)
        self.retry = _detail(self.status, RetryInfo)
        self.request = _detail(self.status, RequestInfo)
        bad = _detail(self.status, BadRequest)
        self.violations = [] if bad is None else list(bad.field_violations)

    @property
    def reason(self) -> str:
        """ErrorInfo's, empty where there is no ErrorInfo."""
        return "" if self.info is None else str(self.info.reason)

    @property
    def metadata(self) -> dict[str, str]:
        """ErrorInfo's."""
        return {} if self.info is None else dict(self.info.metadata)

    @property
    def field(self) -> str | None:
        """The path of the field at fault."""
        return self.violations[0].field if self.violations else None


@dataclass(frozen=True)
class Reply:
    """An OK answer."""

    body: dict[str, Any]
    trailers: dict[str, Any]


class Wire:
    """Calls a server with one key."""

    def __init__(self, channel: grpc.aio.Channel, key: str | None = KEY) -> None:
        self._channel = channel
        self._key = key

    @property
    def key(self) -> str | None:
        """The key that is sent."""
        return self._key

    def with_key(self, key: str | None) -> "Wire":
        """Return a client with another key, or with none."""
        return Wire(self._channel, key)

    def start(self, method: str, body: Body, metadata: Metadata = (), within: float | None = 30) -> Any:
        """Begin a call and return grpc's object for it, whose result is the response's bytes.

        A stream that is taken has the body as its one message. Of a stream that is given, the result is its messages
        one after the other, which as bytes are one message with all that is repeated in them.
        """
        sent = self.encoded(method, body)
        SUITE.send(body, self._key or "")
        if self._key is not None:
            metadata = (*metadata, ("authorization", f"Bearer {self._key}"))
        path = f"/{RPCS[method].service}/{method}"
        stub: Any
        if RPCS[method].takes_stream:
            stub = self._channel.stream_unary(path)
            return stub(iter([sent]), metadata=metadata, timeout=within)
        if RPCS[method].gives_stream:
            stub = self._channel.unary_stream(path)
            return _Joined(stub(sent, metadata=metadata, timeout=within))
        stub = self._channel.unary_unary(path)
        return stub(sent, metadata=metadata, timeout=within)

    def stream(self, method: str, body: Body | None = None, within: float | None = 30) -> Any:
        """Begin a call that is a stream and return grpc's object for it.

        The messages of one that takes a stream are written to that, as bytes (`encoded`), and its result is a message.
        One that gives a stream is asked with a `body`, and gives messages.
        """
        path, respond = f"/{RPCS[method].service}/{method}", RPCS[method].response.FromString
        metadata = (("authorization", f"Bearer {self._key}"),)
        if RPCS[method].takes_stream:
            taking: Any = self._channel.stream_unary(path, None, respond)
            return taking(metadata=metadata, timeout=within)
        giving: Any = self._channel.unary_stream(path, None, respond)
        return giving(self.encoded(method, body or {}), metadata=metadata, timeout=within)

    @staticmethod
    def encoded(method: str, body: Body) -> bytes:
        """Return a request as it is sent."""
        if isinstance(body, bytes):
            return body
        if isinstance(body, Mapping):
            body = json_format.ParseDict(dict(body), RPCS[method].request())
        return body.SerializeToString()

    async def send(self, method: str, body: Body, metadata: Metadata = (), within: float | None = 30) -> Reply:
        """Return the answer with its trailing metadata; Refused where it is an error."""
        call = self.start(method, body, metadata, within)
        try:
            response = RPCS[method].response.FromString(await call)
        except grpc.aio.AioRpcError as error:
            raise Refused(error) from None
        shown = json_format.MessageToDict(response, preserving_proto_field_name=True)
        return Reply(shown, dict([*await call.trailing_metadata()]))

    async def __call__(self, method: str, body: Body) -> dict[str, Any]:
        """Return the answer as JSON shows it, empty fields left out; Refused where it is an error."""
        return (await self.send(method, body)).body

    async def refused(self, method: str, body: Body, metadata: Metadata = ()) -> Refused:
        """Return the error of a call that must fail."""
        try:
            reply = await self.send(method, body, metadata)
        except Refused as refusal:
            return refusal
        raise AssertionError(f"{method} was not refused: {reply.body}")

    async def attempt(self, method: str, body: Body, metadata: Metadata = ()) -> None:
        """Make a call, whatever comes of it."""
        with suppress(Refused):
            await self.send(method, body, metadata)

    async def identify(self, *external_ids: str) -> list[str]:
        """Make identified profiles and return their profile ids."""
        items = [{"external_id": external_id} for external_id in external_ids]
        answer = await self("Identify", {"aliases_to_identify": items})
        return [result["profile_id"] for result in answer["results"]]

    async def anonymous(self, *anonymous_ids: str) -> list[str]:
        """Make anonymous profiles and return their profile ids."""
        items = [{"anonymous_id": anonymous_id} for anonymous_id in anonymous_ids]
        answer = await self("CreateAliases", {"user_aliases": items})
        return [result["profile_id"] for result in answer["results"]]

    async def profile_of(self, id_: str) -> str:
        """Return the profile id of an id, empty where it is nobody's."""
        answer = await self("Resolve", {"identifiers": [{"id": id_}]})
        return str(answer["resolutions"][0].get("profile_id", ""))


def outcomes(answer: Mapping[str, Any]) -> list[str]:
    """Return what became of each item of a batch: its outcome or its error's reason."""
    return [
        str(result.get("outcome", result.get("reason"))).removeprefix("OUTCOME_").removeprefix("ERROR_REASON_")
        for result in answer["results"]
    ]


def item_fields(answer: Mapping[str, Any]) -> list[str | None]:
    """Return the path of the field at fault of each item of a batch."""
    paths: list[str | None] = []
    for result in answer["results"]:
        details = result.get("error", {}).get("details", [])
        violations = [violation for detail in details for violation in detail.get("field_violations", [])]
        paths.append(violations[0]["field"] if violations else None)
    return paths


@dataclass(frozen=True)
class Server:
    """A running server and what it stands on."""

    address: str
    database: Path
    grpc: GrpcServer
    store: SqliteStore
    keys: KeyRing
    pipeline: Pipeline

    def connect(self) -> sqlite3.Connection:
        """Return another connection to the database."""
        return sqlite3.connect(self.database, isolation_level=None)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Run a statement and return its rows."""
        with closing(self.connect()) as connection:
            return connection.execute(query, values).fetchall()

    def add_key(
        self,
        *permissions: str,
        workspace: str = "default",
        expires_at: int | None = None,
        revoked_at: int | None = None,
    ) -> str:
        """Add an API key straight to the database and return it."""
        secret = keys.new_secret()
        self.rows("INSERT INTO workspaces (name, created_at) VALUES (?, 0) ON CONFLICT DO NOTHING", workspace)
        self.rows(
            "INSERT INTO api_keys (id, workspace, digest, name, prefix, permissions, created_at, expires_at,"
            " revoked_at) VALUES (?, (SELECT id FROM workspaces WHERE name = ?), ?, 'test', '', ?, 0, ?, ?)",
            uuid_utils.uuid7().bytes,
            workspace,
            keys.digest(secret),
            " ".join(permissions),
            expires_at,
            revoked_at,
        )
        return secret

    def all_but(self, *missing: str) -> str:
        """Add a key with every permission but some, and return it."""
        return self.add_key(*PERMISSIONS.difference(missing))


class Held:
    """Holds calls of Alias between their arrival and their work, so that a test can do something meanwhile."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.left = asyncio.Event()

    def servicer(self, service: Service, rules: Rules) -> AliasServicer:
        """Return the servicer, for `serving`."""
        held = self

        class Holding(AliasServicer):
            async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
                held.entered.set()
                try:
                    await held.release.wait()
                    return await super().Alias(request, session)
                finally:
                    held.left.set()

        return Holding(service, rules)


@asynccontextmanager
async def serving(
    database: Path,
    *,
    rate_limit: str = "off",
    max_identifiers: int = 1000,
    reflection: str = "off",
    servicer: Callable[[Service, Rules], object] = AliasServicer,
    clock: Callable[[], float] | None = None,
    tls: Certificates | None = None,
    spans: Spans | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[Server]:
    """Serve a database, on a free port unless told otherwise, put together as `aka serve` does it."""
    store = await SqliteStore.open(str(database), spans, kept_resolutions=100)
    try:
        await bootstrap.add_first_key(store, KEY)
        ring = KeyRing(store)
        limiter = None
        if rate_limit != "off":
            limit = RateLimit.parse(rate_limit)
            limiter = Limiter(limit) if clock is None else Limiter(limit, clock)
        pipeline = Pipeline(
            {
                SERVICE: servicer(Service(store), Rules(max_identifiers)),
                ADMIN_SERVICE: AdminServicer(AdminService(store, ring)),
            },
            ring,
            limiter,
            spans,
        )
        server = GrpcServer(pipeline, ring, reflection_needs=reflection, tls=tls)
        bound = await server.start(address)
        try:
            yield Server(bound, database, server, store, ring, pipeline)
        finally:
            await server.stop(5)
            await ring.close()
    finally:
        await store.close()


@asynccontextmanager
async def wire_to(
    server: Server, key: str | None = KEY, options: Sequence[tuple[str, Any]] = ()
) -> AsyncIterator[Wire]:
    """Call a server over a channel of its own."""
    own = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(server.address, options=[own, *options]) as channel:
        yield Wire(channel, key)


class _Joined:
    """A call that is answered with a stream, awaited as a whole."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, bytes]:
        return self._read().__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def _read(self) -> bytes:
        return b"".join([message async for message in self._call])


def _detail(status: Status, kind: Any) -> Any:
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            unpacked = kind()
            detail.Unpack(unpacked)
            return unpacked
    return None
