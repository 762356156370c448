"""Clients that load a server with families' calls, and record how every one of them ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from aka.v1 import alias_service_pb2 as v1
from tests.faults.history import Call, End, Family, Fault, History, Kind, Refusal, State, Step, journal_name
from tests.faults.lives import Act, Life, names

Make = Callable[[Family, Step], Awaitable[Call | None]]

KEY: Final = "the-key-of-the-fault-tests"
PATIENCE: Final = 60.0
"""Seconds that a call may take which no fault is meant to hold up."""

_CHANNELS: Final = 4
_AT_ONCE: Final = 64

_ANSWERS: Final[dict[str, type[Message]]] = {
    "Alias": v1.AliasResponse,
    "BatchAlias": v1.BatchAliasResponse,
    "CreateAliases": v1.CreateAliasesResponse,
    "Identify": v1.IdentifyResponse,
    "DeleteAlias": v1.DeleteAliasResponse,
    "Resolve": v1.ResolveResponse,
}

_NOTHING_CHANGED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)


class Client:
    """Some connections to a server, or to each of several, which get its calls in turn.

    Every change that goes through it is in the history.
    """

    def __init__(self, address: str | Sequence[str], history: History, channels: int = _CHANNELS) -> None:
        self.history = history
        addresses = [address] if isinstance(address, str) else address
        options = (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        )
        self._channels = [grpc.aio.insecure_channel(each, options) for _ in range(channels) for each in addresses]
        self._rpcs = [
            {name: _rpc(channel, name, kind) for name, kind in _ANSWERS.items()} for channel in self._channels
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close the connections, whatever is under way on them."""
        await asyncio.gather(*(channel.close(None) for channel in self._channels))

    async def make(self, family: Family, step: Step, within: float | None = PATIENCE) -> Call:
        """Make a call and return its record. Whoever cancels this hangs up."""
        call = self.history.begin(family, step, within)
        try:
            self.history.acknowledge(call, await self._send(call.id, step.method, step.request, within))
        except grpc.aio.AioRpcError as error:
            reason = _reason(error)
            certain = error.code() in _NOTHING_CHANGED and reason != error.code().name
            if certain or reason == "STORE_UNAVAILABLE":
                self.history.refuse(call, reason)
            else:
                self.history.lose_sight(call, reason)
        except (asyncio.CancelledError, grpc.aio.UsageError):
            self.history.lose_sight(call, "HUNG_UP")
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        return call

    async def resolve(self, identifiers: Sequence[v1.Identifier]) -> Sequence[v1.Resolution]:
        """Return whose the identifiers are."""
        answer = await self._send(0, "Resolve", v1.ResolveRequest(identifiers=identifiers), PATIENCE)
        assert isinstance(answer, v1.ResolveResponse)
        return answer.resolutions

    async def read(self) -> None:
        """Ask for anything; fails where the server does not answer."""
        await self.resolve([v1.Identifier(id="nobody")])

    async def again(self, call: Call) -> Message:
        """Send an acknowledged call once more and return the answer."""
        return await self._send(call.id, call.step.method, call.step.request, PATIENCE)

    async def _send(self, number: int, method: str, request: Message, within: float | None) -> Message:
        rpc = self._rpcs[number % len(self._rpcs)][method]
        metadata = ("authorization", f"Bearer {KEY}"), ("x-request-id", journal_name(number))
        answer: Message = await rpc(request, metadata=metadata, timeout=within)
        return answer


async def share(client: Client, random: Random, number: int = 8) -> list[str]:
    """Make identified profiles for many families to link to and merge into; return their user ids."""
    users = []
    for _ in range(number):
        family = client.history.family()
        user = f"{family.name}.shared"
        request = v1.IdentifyRequest(aliases_to_identify=[v1.AliasToIdentify(external_id=user)])
        after = State().create(user, ("", user), primary=True)
        call = await client.make(family, Step("Identify", request, after, [user], names(user)))
        assert call.end is End.ACKNOWLEDGED, call.reason
        users.append(user)
    return users


async def load(
    client: Client,
    random: Random,
    until: asyncio.Event,
    *,
    callers: int,
    shared: Sequence[str] = (),
    acts: Sequence[Act] = (),
    make: Make | None = None,
    at_most: int = 100_000,
    rests: float = 0.05,
) -> None:
    """Let callers live one family's life after the other until an event, or until they made `at_most` calls.

    Whoever's call failed `rests` for so many seconds at most, and begins another life. `make` makes a call in another
    way than `client.make` and returns its record, or None where nothing was sent.
    """
    history = client.history
    first = len(history.calls)
    make = make or client.make

    async def live() -> None:
        while not until.is_set() and len(history.calls) - first < at_most:
            for step in Life(family := history.family(), random, shared).steps(*acts):
                call = await make(family, step)
                if call is None:
                    break
                if call.end is not End.ACKNOWLEDGED and Refusal(call.reason) not in step.expected:
                    await asyncio.sleep(random.uniform(0.01, rests))
                    break
                if until.is_set():
                    break

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(live())


async def more(of: Callable[[], int], number: int, loading: asyncio.Task[None]) -> None:
    """Wait until a load has brought about more of something that can be counted."""
    enough = of() + number
    while True:
        if of() >= enough:
            return
        assert not loading.done(), "the load ended"
        await asyncio.sleep(0.02)


async def settle(client: Client) -> list[Call]:
    """Look what became of the calls whose outcome is unknown, repeat them, and look again.

    Each repeat must be answered, where others are in the way by being repeated once more. Returns the unknown calls
    that had been done before their repeat.
    """
    history = client.history
    await client.read()
    history.serves_again()
    await history.look(client.resolve)
    history.assert_sound()
    unknown = [family.open for family in history.families if family.open is not None]
    done = [call for call in unknown if call.family.moved]

    async def repeat(call: Call) -> None:
        call.family.open = None
        again = await client.make(call.family, call.step)
        if again.reason == "CONFLICT":
            await repeat(call)
            return
        if again.end is not End.ACKNOWLEDGED and Refusal(again.reason) not in call.step.expected:
            text = f"call {call.id} ({call.step.method}) was unknown, and its repeat was answered {again.reason}"
            history.faults.append(Fault(Kind.WRONG, text))

    await _all(repeat, unknown)
    await history.look(client.resolve)
    return done


async def ask_again(client: Client, calls: Iterable[Call]) -> int:
    """Repeat acknowledged calls that bear a request id; each must get its first answer. Returns how many."""
    once = [call for call in calls if call.end is End.ACKNOWLEDGED and call.step.request_id]

    async def repeat(call: Call) -> None:
        if await client.again(call) != call.answer:
            text = f"call {call.id} ({call.step.method}) got another answer to its repeated request_id"
            client.history.faults.append(Fault(Kind.DOUBLED, text))

    await _all(repeat, once)
    return len(once)


async def _all(work: Callable[[Call], Any], calls: Sequence[Call]) -> None:
    for start in range(0, len(calls), _AT_ONCE):
        await asyncio.gather(*map(work, calls[start : start + _AT_ONCE]))


def _rpc(channel: grpc.aio.Channel, name: str, answer: type[Message]) -> Any:
    return channel.unary_unary(
        f"/aka.v1.AliasService/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=answer.FromString,
    )


def _reason(error: grpc.aio.AioRpcError) -> str:
    """ErrorInfo's reason; the status where there is none, as when no server answered."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in Status.FromString(value).details:
                info = ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return str(error.code().name)
