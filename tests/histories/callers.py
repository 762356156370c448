"""Callers that ask for anything about a few identifiers, all at once, and record what they were told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import grpc
from google.protobuf.message import Message

from aka.v1 import alias_service_pb2 as v1
from aka.v1.alias_service_pb2_grpc import AliasServiceStub
from tests.grpc.wire import Refused
from tests.histories.operations import Operation, named_profiles

PATIENCE: Final = 30.0
"""Seconds that a call may take that is not made to end early."""

_CHANNELS: Final = 4
"""Connections to each server."""
_MAY_HAVE_BEEN_DONE: Final = frozenset(
    {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL}
)


class Hot:
    """A few identifiers that everybody asks about, and the profiles that turned up. Draws requests by chance."""

    def __init__(self, name: str, random: Random, *, ids: int = 6) -> None:
        self._random = random
        self._ids = [f"{name}.{number}" for number in range(ids)]
        self._pairs = [
            v1.UserAlias(alias_label=label, alias_name=f"{name}.{nr}") for label in ("crm", "tax") for nr in "01"
        ]
        self._profile_ids: list[str] = []
        self._repeatable: list[Message] = []
        self._next_pages: list[v1.GetProfileRequest] = []

    def learn(self, request: Message, answer: Message | None) -> None:
        """Note what an answer makes it possible to ask."""
        self._profile_ids += sorted({*named_profiles(answer)}.difference(self._profile_ids))
        if isinstance(request, v1.GetProfileRequest) and (token := getattr(answer, "next_page_token", "")):
            self._next_pages.append(v1.GetProfileRequest(identifier=request.identifier, page_token=token, page_size=2))

    def everything(self) -> list[Message]:
        """Ask for all that can be read."""
        keys = self._keys()
        return [v1.ResolveRequest(identifiers=keys), *(v1.GetProfileRequest(identifier=key) for key in keys)]

    def read(self) -> Message:
        """Ask whose something is."""
        random, keys = self._random, self._keys()
        if self._next_pages and random.random() < 0.2:
            return self._next_pages.pop()
        match random.choices(("one", "some", "all", "profile"), (4, 3, 2, 3))[0]:
            case "one":
                return v1.ResolveRequest(identifiers=[random.choice(keys)])
            case "some":
                return v1.ResolveRequest(identifiers=random.sample(keys, random.randint(2, len(keys))))
            case "all":
                return v1.ResolveRequest(identifiers=keys)
        return v1.GetProfileRequest(identifier=random.choice(keys), page_size=random.choice((0, 0, 2)))

    def change(self) -> Message:
        """Ask for a change, which may have been asked for before."""
        random = self._random
        if self._repeatable and random.random() < 0.08:
            return random.choice(self._repeatable)
        kinds = self._alias, self._batch_alias, self._create_aliases, self._identify, self._delete_alias
        [draw] = random.choices(kinds, (6, 2, 3, 4, 5))
        request: Any = draw()
        if random.random() < 0.06:
            request.validate_only = True
        elif random.random() < 0.15:
            request.request_id = str(UUID(int=random.getrandbits(128)))
            self._repeatable.append(request)
        message: Message = request
        return message

    def _alias(self) -> v1.AliasRequest:
        random = self._random
        # ALWAYS is the rarest: it joins everybody, and then there is little left to ask.
        policies = v1.MERGE_POLICY_UNSPECIFIED, v1.MERGE_POLICY_NEVER, v1.MERGE_POLICY_ANONYMOUS, v1.MERGE_POLICY_ALWAYS
        [policy] = random.choices(policies, (2, 3, 3, 2))
        user_id, alias_id = self._two()
        request = v1.AliasRequest(alias_id=alias_id, merge_policy=policy, create_missing=random.random() < 0.6)
        if self._profile_ids and random.random() < 0.2:
            request.primary_user_id = random.choice(self._profile_ids)
        else:
            request.user_id = user_id
        return request

    def _batch_alias(self) -> v1.BatchAliasRequest:
        return v1.BatchAliasRequest(requests=[self._alias() for _ in self._several()])

    def _create_aliases(self) -> v1.CreateAliasesRequest:
        request = v1.CreateAliasesRequest()
        for _ in self._several():
            item, (external_id, anonymous_id) = request.user_aliases.add(), self._two()
            if self._random.random() < 0.5:
                pair = self._random.choice(self._pairs)
                item.alias_label, item.alias_name = pair.alias_label, pair.alias_name
            else:
                item.anonymous_id = anonymous_id
            if self._random.random() < 0.5:
                item.external_id = external_id
        return request

    def _identify(self) -> v1.IdentifyRequest:
        request = v1.IdentifyRequest(merge_behavior=self._random.choice(v1.MergeBehavior.values()))
        for _ in self._several():
            external_id, anonymous_id = self._two()
            item = request.aliases_to_identify.add(external_id=external_id)
            chance = self._random.random()
            if chance < 0.4:
                item.user_alias.CopyFrom(self._random.choice(self._pairs))
            elif chance < 0.8:
                item.anonymous_id = anonymous_id
        return request

    def _delete_alias(self) -> v1.DeleteAliasRequest:
        random = self._random
        request = v1.DeleteAliasRequest(allow_missing=random.random() < 0.3)
        if random.random() < 0.7:
            request.id = random.choice(self._ids)
        else:
            request.user_alias.CopyFrom(random.choice(self._pairs))
        if self._profile_ids and random.random() < 0.2:
            request.profile_id = random.choice(self._profile_ids)
        return request

    def _several(self) -> range:
        return range(self._random.choice((1, 1, 2, 4)))

    def _two(self) -> tuple[str, str]:
        """Two ids, the same one now and then."""
        one, other = self._random.sample(self._ids, 2)
        return one, one if self._random.random() < 0.03 else other

    def _keys(self) -> list[v1.Identifier]:
        return [
            *(v1.Identifier(id=id_) for id_ in self._ids),
            *(v1.Identifier(user_alias=pair) for pair in self._pairs),
            *(v1.Identifier(profile_id=profile_id) for profile_id in self._profile_ids),
        ]


class Callers:
    """Some callers of one service, each of which calls any of its servers."""

    def __init__(self, addresses: Sequence[str], key: str, random: Random, *, number: int = 16) -> None:
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._random = random
        self._number = number
        own = ("grpc.use_local_subchannel_pool", 1)
        self._channels = [grpc.aio.insecure_channel(address, [own]) for address in [*addresses] * _CHANNELS]
        stubs = [AliasServiceStub(channel) for channel in self._channels]
        self._one_of_each = stubs[: len(addresses)]
        self._in_use = stubs

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def history(self, hot: Sequence[Hot], operations: int) -> list[Operation]:
        """Let all callers ask, each one thing after the other, until there are so many operations.

        A server that is gone is not asked again; where all are, there are fewer operations.
        """
        random, history = self._random, list[Operation]()

        async def ask(caller: int, about: Hot, request: Message) -> None:
            stub = random.choice(self._in_use)
            impatient = random.random() < 0.03
            operation = await self._call(
                caller, stub, request, random.uniform(0.0005, 0.008) if impatient else PATIENCE
            )
            about.learn(request, operation.answer)
            history.append(operation)

        async def live(caller: int) -> None:
            while len(history) < operations and self._in_use:
                about = random.choice(hot)
                changes = random.random() < 0.4
                await ask(caller, about, about.change() if changes else about.read())
                if changes and self._in_use and random.random() < 0.5:
                    await ask(caller, about, about.read())

        async with asyncio.TaskGroup() as group:
            for caller in range(self._number):
                group.create_task(live(caller))
        return history

    async def look(self, hot: Sequence[Hot]) -> list[Operation]:
        """Ask every server for all that can be read, one thing after the other."""
        asked = [(stub, request) for stub in self._one_of_each for about in hot for request in about.everything()]
        return [await self._call(self._number, stub, request) for stub, request in asked]

    async def _call(self, caller: int, stub: Any, request: Message, within: float = PATIENCE) -> Operation:
        method = getattr(stub, type(request).__name__.removesuffix("Request"))
        began = time.monotonic_ns()
        answer: Message | None
        try:
            answer = await method(request, metadata=self._metadata, timeout=within)
        except grpc.aio.AioRpcError as error:
            refused = Refused(error)
            answer = refused.info
            if answer is None and refused.code is grpc.StatusCode.UNAVAILABLE and stub in self._in_use:
                self._in_use.remove(stub)
            if refused.code in _MAY_HAVE_BEEN_DONE or refused.reason == "OUTCOME_UNKNOWN":
                answer = None
        return Operation(caller, request, began, time.monotonic_ns(), answer)
