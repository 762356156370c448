"""`resolve_many`: in order, a bounded number of calls at once, as answers come, and no more than is asked for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import pytest_asyncio

from aka.client import AkaError, AsyncClient, Call, Client, FieldRequired, ProfileId, UserAlias
from aka.client._connection import Started
from aka.client._messages import resolve_request
from aka.server.domain.rules import Rules
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.v1 import alias_service_pb2 as v1
from tests.client.calling import Script, client_of
from tests.client.calls import Calls, Workspace
from tests.grpc.wire import KEY, Server, serving

PATIENCE = 30


class Gate:
    """Holds calls of Resolve while it is closed; counts those that came, are under way, and were ended by callers."""

    def __init__(self) -> None:
        self.came = 0
        self.under_way = 0
        self.most = 0
        self.ended = 0
        self.open = asyncio.Event()
        self.changed = asyncio.Condition()

    async def pass_(self) -> None:
        """Wait until it is open."""
        await self.count(came=1, under_way=1)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        finally:
            await asyncio.shield(self.count(under_way=-1))

    async def count(self, came: int = 0, under_way: int = 0) -> None:
        """Count, and tell those who wait."""
        async with self.changed:
            self.came += came
            self.under_way += under_way
            self.most = max(self.most, self.under_way)
            self.changed.notify_all()

    async def until(self, *, under_way: int) -> None:
        """Wait until so many calls are under way."""
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.under_way == under_way)

    def servicer(self, service: Service, rules: Rules) -> AliasServicer:
        """Return the servicer, for `serving`."""
        gate = self

        class Gated(AliasServicer):
            async def Resolve(self, request: v1.ResolveRequest, session: Session) -> v1.ResolveResponse:
                await gate.pass_()
                return await super().Resolve(request, session)

        return Gated(service, rules)


@pytest_asyncio.fixture
async def gate() -> Gate:
    """What holds the calls of `gated`."""
    return Gate()


@pytest_asyncio.fixture
async def gated(database: Path, gate: Gate) -> AsyncIterator[Server]:
    """A server that answers Resolve when it is let."""
    async with serving(database, servicer=gate.servicer) as running:
        yield running


@pytest_asyncio.fixture
async def asyncio_client(gated: Server) -> AsyncIterator[AsyncClient]:
    """A client of `gated`."""
    async with AsyncClient(gated.address, api_key=KEY, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def threaded_client(gated: Server) -> Iterator[Client]:
    """A client of `gated`, for threads."""
    with Client(gated.address, api_key=KEY, timeout=PATIENCE) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10])
async def test_every_identifier_is_answered_in_order(size: int, client: Calls) -> None:
    await client.identify("known-1")
    asked = [f"known-{n}" for n in range(size)]
    found = await client.resolve_all(iter(asked), batch_size=2, in_flight=3)
    assert [resolution.identifier for resolution in found] == asked
    assert [resolution.user_id for resolution in found] == ["known-1" if one == "known-1" else None for one in asked]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10])
async def test_every_identifier_that_is_awaited_is_answered_in_order(size: int, server: Workspace) -> None:
    asked = [f"u{n}" for n in range(size)]

    async def identifiers() -> AsyncIterator[str]:
        for identifier in asked:
            yield identifier

    async with AsyncClient(server.address, api_key=server.key) as client:
        found = [resolution.identifier async for resolution in client.resolve_many(identifiers(), batch_size=2)]
    assert found == asked


async def test_identifiers_of_all_kinds_may_be_mixed(client: Calls) -> None:
    profile_id = (await client.identify("u")).profile_id
    pair = UserAlias("l", "n")
    await client.create_alias(pair, external_id="u")
    asked = ["u", pair, profile_id, ProfileId(profile_id.upper()), "nobody"]
    found = await client.resolve_all(asked)
    assert [resolution.found for resolution in found] == [True, True, True, True, False]


async def test_a_batch_has_a_thousand_unless_told(client: Calls, script: Script) -> None:
    assert len(await client.resolve_all((f"u{n}" for n in range(2500)), in_flight=1)) == 2500
    assert [len(request.identifiers) for request in script.seen] == [1000, 1000, 500]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 1001}, {"in_flight": 0}])
async def test_what_cannot_be_is_a_value_error(options: dict[str, int], client: Calls) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        await client.resolve_all(["u"], **options)


async def test_one_identifier_is_not_taken_for_many(client: Calls, script: Script) -> None:
    for one in ("user_123", ProfileId("x")):
        with pytest.raises(TypeError, match="for one there is resolve"):
            await client.resolve_all(one)
    assert not script.seen


async def test_an_identifier_that_is_refused_raises_after_what_came_before(server: Workspace, api: str) -> None:
    found: list[Any] = []

    async def collect(client: AsyncClient) -> None:
        async for resolution in client.resolve_many(["a", "b", "", "c"], batch_size=1):
            found.append(resolution.identifier)

    def collect_in_thread(client: Client) -> None:
        for resolution in client.resolve_many(["a", "b", "", "c"], batch_size=1):
            found.append(resolution.identifier)

    async with client_of(api, server) as calls:
        with pytest.raises(FieldRequired):
            if isinstance(calls.client, AsyncClient):
                await collect(calls.client)
            else:
                await asyncio.to_thread(collect_in_thread, calls.client)
    assert found == ["a", "b"]


async def test_no_more_calls_are_under_way_than_told(asyncio_client: AsyncClient, gate: Gate) -> None:
    async def collect() -> int:
        return len([one async for one in asyncio_client.resolve_many(map(str, range(20)), batch_size=2, in_flight=3)])

    collecting = asyncio.create_task(collect())
    await gate.until(under_way=3)
    gate.open.set()
    assert await collecting == 20
    assert (gate.came, gate.most) == (10, 3)


async def test_no_more_calls_of_threads_are_under_way_than_told(threaded_client: Client, gate: Gate) -> None:
    found = threaded_client.resolve_many(map(str, range(20)), batch_size=2, in_flight=3)
    collecting = asyncio.create_task(asyncio.to_thread(list, found))
    await gate.until(under_way=3)
    gate.open.set()
    assert len(await collecting) == 20
    assert (gate.came, gate.most) == (10, 3)


async def test_no_more_identifiers_are_taken_than_are_needed(asyncio_client: AsyncClient, gate: Gate) -> None:
    taken = count()
    gate.open.set()
    endless = (f"u{next(taken)}" for _ in count())
    async with aclosing(asyncio_client.resolve_many(endless, batch_size=2, in_flight=3)) as found:
        for number in range(20):
            assert (await anext(found)).identifier == f"u{number}"
    assert next(taken) <= 20 + 2 * (3 + 1)


async def test_no_more_identifiers_are_taken_by_threads_than_are_needed(threaded_client: Client, gate: Gate) -> None:
    taken = count()
    gate.open.set()
    found = threaded_client.resolve_many((f"u{next(taken)}" for _ in count()), batch_size=2, in_flight=3)
    for number in range(20):
        assert (await asyncio.to_thread(next, found)).identifier == f"u{number}"
    found.close()
    assert next(taken) <= 20 + 2 * 3


async def test_answers_come_while_identifiers_are_awaited(asyncio_client: AsyncClient, gate: Gate) -> None:
    gate.open.set()
    more: asyncio.Queue[str | None] = asyncio.Queue()

    async def identifiers() -> AsyncIterator[str]:
        while (identifier := await more.get()) is not None:
            yield identifier

    async with asyncio.timeout(PATIENCE), aclosing(asyncio_client.resolve_many(identifiers(), batch_size=1)) as found:
        for identifier in ("a", "b", "c"):
            more.put_nowait(identifier)
            assert (await anext(found)).identifier == identifier
        more.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await anext(found)


async def test_who_stops_early_ends_the_calls_under_way(asyncio_client: AsyncClient, gate: Gate) -> None:
    async def first() -> None:
        async for _ in asyncio_client.resolve_many(map(str, range(20)), batch_size=2, in_flight=3):
            break  # without `aclosing`: the event loop closes what is left behind

    asking = asyncio.create_task(first())
    await gate.until(under_way=3)
    gate.open.set()
    await asking
    gate.open.clear()
    await gate.until(under_way=0)
    assert gate.came < 10


async def test_whose_task_is_cancelled_ends_the_calls_under_way(asyncio_client: AsyncClient, gate: Gate) -> None:
    async def collect() -> None:
        async for _ in asyncio_client.resolve_many(map(str, range(20)), batch_size=2, in_flight=3):
            pass

    collecting = asyncio.create_task(collect())
    await gate.until(under_way=3)
    collecting.cancel()
    with suppress(asyncio.CancelledError):
        await collecting
    await gate.until(under_way=0)
    assert (gate.came, gate.ended) == (3, 3)


async def test_threads_that_stop_early_end_the_calls_under_way(threaded_client: Client, gate: Gate) -> None:
    refused = threading.Event()

    def identifiers() -> Iterator[str]:
        yield from ("a", "b")
        refused.wait(PATIENCE)
        raise LookupError

    def collect() -> None:
        with suppress(LookupError):
            list(threaded_client.resolve_many(identifiers(), batch_size=1, in_flight=3))

    collecting = asyncio.create_task(asyncio.to_thread(collect))
    await gate.until(under_way=2)
    refused.set()
    await collecting
    await gate.until(under_way=0)
    assert gate.ended == 2


async def test_calls_that_their_caller_gave_up_are_told_of(gated: Server, gate: Gate) -> None:
    calls: list[Call] = []
    async with AsyncClient(gated.address, api_key=KEY, timeout=PATIENCE, on_call=calls.append) as client:
        call = asyncio.create_task(client.resolve("u"))
        await gate.until(under_way=1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [call.error and call.error.code for call in calls] == [grpc.StatusCode.CANCELLED]


async def test_calls_that_a_thread_gave_up_are_told_of(gated: Server, gate: Gate) -> None:
    calls: list[Call] = []
    refused = threading.Event()

    def identifiers() -> Iterator[str]:
        yield from ("a", "b")
        refused.wait(PATIENCE)
        raise LookupError

    with Client(gated.address, api_key=KEY, timeout=PATIENCE, on_call=calls.append) as client:
        found = client.resolve_many(identifiers(), batch_size=1)
        collecting = asyncio.create_task(asyncio.to_thread(list, found))
        await gate.until(under_way=2)
        refused.set()
        with pytest.raises(LookupError):
            await collecting
    assert [call.error and call.error.code for call in calls] == [grpc.StatusCode.CANCELLED] * 2


@pytest.mark.parametrize("reader", [Started.result, Started.cancel])
def test_a_call_that_its_reader_comes_late_for_is_told_of_with_what_it_took(
    reader: Callable[[Started[Any]], object], server: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Call] = []
    clock = SimpleNamespace(monotonic=lambda: 1.0)
    monkeypatch.setattr("aka.client._connection.time", clock)
    with Client(server.address, api_key=server.key, on_call=calls.append) as client:
        started = client._connection.start(resolve_request(["u"], None), v1.ResolveResponse, None)
        ended = threading.Event()
        started._future.add_done_callback(lambda _: ended.set())
        assert ended.wait(PATIENCE)
        clock.monotonic = lambda: 1000.0
        reader(started)
    assert [(call.seconds, call.error) for call in calls] == [(0, None)]


async def test_a_call_whose_client_is_closed_ends_with_an_error(gated: Server, gate: Gate) -> None:
    calls: list[Call] = []
    client = AsyncClient(gated.address, api_key=KEY, timeout=PATIENCE, on_call=calls.append)
    call = asyncio.create_task(client.resolve("u"))
    await gate.until(under_way=1)
    await client.aclose()
    with pytest.raises(AkaError, match="CANCELLED"):
        await call
    assert calls[0].error is call.exception()


async def test_a_call_of_a_thread_whose_client_is_closed_ends_with_an_error(gated: Server, gate: Gate) -> None:
    client = Client(gated.address, api_key=KEY, timeout=PATIENCE)
    call = asyncio.create_task(asyncio.to_thread(client.resolve, "u"))
    await gate.until(under_way=1)
    client.close()
    with pytest.raises(AkaError, match="CANCELLED"):
        await call


async def test_a_call_whose_task_is_cancelled_is_cancelled(asyncio_client: AsyncClient, gate: Gate) -> None:
    call = asyncio.create_task(asyncio_client.resolve("u"))
    await gate.until(under_way=1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await gate.until(under_way=0)


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_what_the_identifiers_raise_is_raised(asynchronous: bool, client: Calls) -> None:
    def identifiers() -> Iterator[str]:
        yield "a"
        raise LookupError("of the caller")

    async def async_identifiers() -> AsyncIterator[str]:
        for identifier in identifiers():
            yield identifier

    given: Any = identifiers()
    if asynchronous and isinstance(client.client, AsyncClient):
        given = async_identifiers()
    with pytest.raises(LookupError, match="of the caller"):
        await client.resolve_all(given, batch_size=1)
