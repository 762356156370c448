"""Both clients called in one way, and servers that can be told what to answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from aka.client import AsyncClient, Client, Resolution
from aka.server.domain.rules import Rules
from aka.server.errors import PREFIX, AkaError, Reason
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import KEY, Server
from tests.privacy import SUITE

APIS: Final = ("asyncio", "threads")


class Calls:
    """A client whose methods are coroutines, whichever of the two it is."""

    def __init__(self, client: AsyncClient | Client) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        async def call(*given: Any, **named: Any) -> Any:
            SUITE.send(*(str(value) for value in (*given, *named.values())))
            if isinstance(self.client, AsyncClient):
                return await method(*given, **named)
            return await asyncio.to_thread(partial(method, *given, **named))

        return call

    async def resolve_all(self, identifiers: Iterable[Any], **options: Any) -> list[Resolution]:
        """Return all that `resolve_many` yields."""
        if isinstance(self.client, AsyncClient):
            return [resolution async for resolution in self.client.resolve_many(identifiers, **options)]
        return await asyncio.to_thread(list, self.client.resolve_many(identifiers, **options))


class Workspace(NamedTuple):
    """Where a server is, and a key that may do everything in one of its workspaces."""

    address: str
    key: str


@asynccontextmanager
async def client_of(api: str, of: Workspace | Server | str, **options: Any) -> AsyncIterator[Calls]:
    """Make a client of one of `APIS`, of a workspace or of a server's first one."""
    workspace = of if isinstance(of, Workspace) else Workspace(of if isinstance(of, str) else of.address, KEY)
    address, options = workspace.address, {"api_key": workspace.key} | options
    if api == "asyncio":
        async with AsyncClient(address, **options) as client:
            yield Calls(client)
    else:
        with Client(address, **options) as threaded:
            yield Calls(threaded)


class Script:
    """What befalls the next calls of Alias and DeleteAlias, in place of their work; and the calls that arrived."""

    def __init__(self) -> None:
        self.refusals: list[AkaError] = []
        self.seen: list[Any] = []
        self.sessions: list[Session] = []

    def forget(self) -> None:
        """Refuse nothing, and forget what was seen."""
        self.refusals.clear()
        self.seen.clear()
        self.sessions.clear()

    def refuse(self, *reasons: Reason, **metadata: str) -> None:
        """Refuse the next calls for these reasons."""
        self.refusals += [AkaError(reason, "as told", **metadata) for reason in reasons]

    def meet(self, request: Any, session: Session) -> None:
        """Note a call, and refuse it as told."""
        self.seen.append(request)
        self.sessions.append(session)
        if self.refusals:
            raise self.refusals.pop(0)

    def servicer(self, service: Service, rules: Rules) -> AliasServicer:
        """Return the servicer, for `serving`."""
        script = self

        class Scripted(AliasServicer):
            async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
                script.meet(request, session)
                return await super().Alias(request, session)

            async def DeleteAlias(self, request: v1.DeleteAliasRequest, session: Session) -> v1.DeleteAliasResponse:
                script.meet(request, session)
                return await super().DeleteAlias(request, session)

            async def Resolve(self, request: v1.ResolveRequest, session: Session) -> v1.ResolveResponse:
                script.meet(request, session)
                return await super().Resolve(request, session)

        return Scripted(service, rules)


def reason(name: str) -> Reason:
    """Return a reason by its name."""
    return v1.ErrorReason.Value(f"{PREFIX}{name}")
