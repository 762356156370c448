"""Bugs that are planted in a real server are found by what callers of it are told."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from aka.server.domain.rules import Rules
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.server.store.store import store_unavailable
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import KEY, serving
from tests.histories.callers import Callers, Hot
from tests.histories.search import NotLinearizable, assert_linearizable

MOST = 1000
"""Identifiers and tombstones of a profile, as the servers of `serving` have it."""


class WithBug(AliasServicer):
    """A servicer that goes wrong now and then."""

    def __init__(self, service: Service, rules: Rules) -> None:
        super().__init__(service, rules)
        self._random = Random()

    def _now_and_then(self) -> bool:
        return self._random.random() < 0.4


class CacheThatIsEmptiedTooEarly(WithBug):
    """Resolutions are remembered until a change begins, where it should be until it is done."""

    def __init__(self, service: Service, rules: Rules) -> None:
        super().__init__(service, rules)
        self._seen: dict[bytes, v1.Resolution] = {}

    async def Resolve(self, request: v1.ResolveRequest, session: Session) -> v1.ResolveResponse:
        keys = [identifier.SerializeToString() for identifier in request.identifiers]
        if any(key not in self._seen for key in keys):
            answer = await super().Resolve(request, session)
            self._seen.update(zip(keys, answer.resolutions, strict=True))
        return v1.ResolveResponse(resolutions=[self._seen[key] for key in keys])

    async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
        self._seen.clear()
        return await super().Alias(request, session)

    async def BatchAlias(self, request: v1.BatchAliasRequest, session: Session) -> v1.BatchAliasResponse:
        self._seen.clear()
        return await super().BatchAlias(request, session)

    async def CreateAliases(self, request: v1.CreateAliasesRequest, session: Session) -> v1.CreateAliasesResponse:
        self._seen.clear()
        return await super().CreateAliases(request, session)

    async def Identify(self, request: v1.IdentifyRequest, session: Session) -> v1.IdentifyResponse:
        self._seen.clear()
        return await super().Identify(request, session)

    async def DeleteAlias(self, request: v1.DeleteAliasRequest, session: Session) -> v1.DeleteAliasResponse:
        self._seen.clear()
        return await super().DeleteAlias(request, session)


class StaleProfiles(WithBug):
    """A profile is answered as it was when it was last asked for."""

    def __init__(self, service: Service, rules: Rules) -> None:
        super().__init__(service, rules)
        self._seen: dict[bytes, v1.GetProfileResponse] = {}

    async def GetProfile(self, request: v1.GetProfileRequest, session: Session) -> v1.GetProfileResponse:
        asked = request.SerializeToString()
        if asked not in self._seen or not self._now_and_then():
            self._seen[asked] = await super().GetProfile(request, session)
        return self._seen[asked]


class LostUpdates(WithBug):
    """An alias that was acknowledged is gone a little later, as from a transaction that was never committed."""

    async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
        answer = await super().Alias(request, session)
        if answer.outcome == v1.OUTCOME_LINKED and not request.validate_only and self._now_and_then():
            await super().DeleteAlias(v1.DeleteAliasRequest(id=request.alias_id, allow_missing=True), session)
        return answer


class RefusalsThatTakeEffect(WithBug):
    """A call is refused, though what it asked for was done."""

    async def Identify(self, request: v1.IdentifyRequest, session: Session) -> v1.IdentifyResponse:
        answer = await super().Identify(request, session)
        if self._now_and_then():
            raise store_unavailable("the test says so")
        return answer


class ReadsOfTwoMoments(WithBug):
    """A Resolve reads one half of its identifiers after the other, so that it sees half of what is done meanwhile."""

    async def Resolve(self, request: v1.ResolveRequest, session: Session) -> v1.ResolveResponse:
        halves = request.identifiers[::2], request.identifiers[1::2]
        found: list[list[v1.Resolution]] = []
        for half in halves:
            answer = (
                await super().Resolve(v1.ResolveRequest(identifiers=half), session) if half else v1.ResolveResponse()
            )
            found.append(list(answer.resolutions))
            await asyncio.sleep(0.001)
        each = [found[number % 2][number // 2] for number in range(len(request.identifiers))]
        return v1.ResolveResponse(resolutions=each)


class BatchesInPieces(WithBug):
    """The items of a batch are done one by one, and others see what is between them."""

    async def Identify(self, request: v1.IdentifyRequest, session: Session) -> v1.IdentifyResponse:
        answer = v1.IdentifyResponse()
        if request.validate_only or request.request_id:
            return await super().Identify(request, session)
        for index, item in enumerate(request.aliases_to_identify):
            alone = v1.IdentifyRequest(aliases_to_identify=[item], merge_behavior=request.merge_behavior)
            part = await super().Identify(alone, session)
            part.results[0].index = index
            answer.results.extend(part.results)
            answer.aliases_processed += part.aliases_processed
        return answer


class RepeatsDoneTwice(WithBug):
    """The request_id is ignored."""

    async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
        request.request_id = ""
        return await super().Alias(request, session)

    async def BatchAlias(self, request: v1.BatchAliasRequest, session: Session) -> v1.BatchAliasResponse:
        request.request_id = ""
        return await super().BatchAlias(request, session)


class ChecksBeforeTheTransaction(WithBug):
    """Whether an identifier may be unlinked is decided by what was read before, and not where it is unlinked."""

    async def DeleteAlias(self, request: v1.DeleteAliasRequest, session: Session) -> v1.DeleteAliasResponse:
        tried = v1.DeleteAliasRequest()
        tried.CopyFrom(request)
        tried.validate_only = True
        answer = await super().DeleteAlias(tried, session)
        request.allow_missing = True
        await super().DeleteAlias(request, session)
        return answer


BUGS: list[Callable[[Service, Rules], WithBug]] = [
    CacheThatIsEmptiedTooEarly,
    StaleProfiles,
    LostUpdates,
    RefusalsThatTakeEffect,
    ReadsOfTwoMoments,
    BatchesInPieces,
    RepeatsDoneTwice,
    ChecksBeforeTheTransaction,
]


@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_is_found(tmp_path: Path, random: Random, bug: Callable[[Service, Rules], WithBug]) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path / "aka.db", servicer=bug))
        callers = await stack.enter_async_context(Callers([server.address], KEY, random))
        with pytest.raises(NotLinearizable):
            for number in range(60):  # three do on average
                hot = [Hot(f"h{number}", random)]
                history = await callers.history(hot, 100) + await callers.look(hot)
                assert_linearizable(history, most=MOST)
