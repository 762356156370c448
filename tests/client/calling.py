"""Clients of the tests' servers, and servers that can be told what to answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aka.server.domain.rules import Rules
from aka.server.errors import PREFIX, AkaError, Reason
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.v1 import alias_service_pb2 as v1
from tests.client.calls import Calls, Workspace, calls_to
from tests.grpc.wire import KEY, Server


@asynccontextmanager
async def client_of(api: str, of: Workspace | Server | str, **options: Any) -> AsyncIterator[Calls]:
    """Make a client of one of `APIS`, of a workspace or of a server's first one."""
    workspace = of if isinstance(of, Workspace) else Workspace(of if isinstance(of, str) else of.address, KEY)
    async with calls_to(api, workspace.address, **{"api_key": workspace.key} | options) as calls:
        yield calls


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

            async def GetProfile(self, request: v1.GetProfileRequest, session: Session) -> v1.GetProfileResponse:
                script.meet(request, session)
                return await super().GetProfile(request, session)

        return Scripted(service, rules)


def reason(name: str) -> Reason:
    """Return a reason by its name."""
    return v1.ErrorReason.Value(f"{PREFIX}{name}")
