"""`import_links` and `export_links`: accounts and pages, going on, and what ends a stream."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from aka.client import (
    AkaError,
    AsyncClient,
    Call,
    Client,
    DeadlineExceededError,
    IdentifiedProfile,
    ImportAccount,
    InvalidValue,
    Link,
    LinkPage,
    MergePolicy,
    PermissionMissing,
    ReservedIdentifier,
    StoreUnavailable,
    UserAlias,
)
from aka.server.domain.rules import Rules
from aka.server.service import Service, Session
from aka.server.servicer import AliasServicer
from aka.v1 import alias_service_pb2 as v1
from tests.client.calling import Script, client_of, reason
from tests.client.calls import Calls, Workspace
from tests.grpc.wire import KEY, Held, Server, serving

PATIENCE = 30


async def exported(calls: Calls, **options: Any) -> list[LinkPage]:
    """Return all pages of an export."""
    if isinstance(calls.client, AsyncClient):
        return [page async for page in calls.client.export_links(**options)]
    return await asyncio.to_thread(list, calls.client.export_links(**options))


async def first_page(calls: Calls) -> LinkPage:
    """Return the first page of an export, and end that."""
    if isinstance(calls.client, AsyncClient):
        async with aclosing(calls.client.export_links()) as pages:
            return await anext(pages)

    def first(client: Client) -> LinkPage:
        with closing(client.export_links()) as pages:
            return next(pages)

    return await asyncio.to_thread(first, calls.client)


def users(count: int) -> list[Link]:
    return [Link(user_id=f"user-{number:05}") for number in range(count)]


async def test_links_of_every_kind_come_back_as_they_were(client: Calls) -> None:
    links = [
        Link(user_id="u"),
        Link(user_id="u", alias_id="a"),
        Link(user_id="u", anonymous_id="s"),
        Link(user_id="u", user_alias=UserAlias("l", "n")),
        Link(anonymous_id="t"),
    ]
    account = await client.import_links(links)
    assert account == ImportAccount(5, True, 2, 3, 0, 0, 0, ())
    (page,) = await exported(client)
    assert {replace(link, profile_id=None, linked_at=None) for link in page.links} == set(links)
    assert {link.profile_id for link in page.links if link.user_id} == {(await client.resolve("u")).profile_id}
    assert all(link.linked_at for link in page.links)
    assert (await client.import_links(page.links)).already_linked == 5


async def test_nothing_is_imported_and_nothing_is_exported(client: Calls) -> None:
    assert await client.import_links([]) == ImportAccount(0, True, 0, 0, 0, 0, 0, ())
    assert await exported(client) == []


async def test_a_refused_link_has_its_place_and_its_error_and_the_others_go_on(client: Calls) -> None:
    await client.import_links([Link(user_id="u"), Link(user_id="v")])
    account = await client.import_links([*users(1500), Link(user_id="u", alias_id="v"), Link(user_id="null")])
    assert (account.links_received, account.complete, account.created) == (1502, True, 1500)
    joined, reserved = account.refused
    assert (joined.index, type(joined.error)) == (1500, IdentifiedProfile)
    assert (reserved.index, type(reserved.error), reserved.error.field) == (1501, ReservedIdentifier, "user_id")
    assert joined.error.request_id


async def test_a_merge_policy_and_a_try_are_the_whole_imports(client: Calls) -> None:
    await client.import_links([Link(user_id="u"), Link(user_id="v")])
    links = [Link(user_id="u", alias_id="v"), *users(1500)]
    tried = await client.import_links(iter(links), merge_policy=MergePolicy.ALWAYS, validate_only=True)
    assert (tried.merged, tried.created) == (1, 1500)
    assert not (await client.resolve(links[-1].user_id)).found
    assert (await client.import_links(links, merge_policy=MergePolicy.ALWAYS)).merged == 1


async def test_an_import_that_ends_early_is_gone_on_with_behind_its_account(client: Calls) -> None:
    links = [*(Link(user_id="null", alias_id=f"{number:0200}") for number in range(1500)), *users(5000)]
    accounts = []
    while links:
        accounts.append(await client.import_links(links))
        links = links[accounts[-1].links_received :]
    assert [(account.complete, len(account.refused)) for account in accounts] == [(False, 1000), (True, 500)]
    assert sum(account.created for account in accounts) == 5000


async def test_no_more_links_are_taken_when_the_import_has_ended(client: Calls) -> None:
    account = await client.import_links(Link(user_id="null", alias_id=f"{number:0200}") for number in count())
    assert (account.complete, len(account.refused)) == (False, 1000)


async def test_what_is_too_long_is_refused_by_itself_and_not_its_message(client: Calls) -> None:
    account = await client.import_links([Link(user_id="u", alias_id="a" * 200_000)] * 40)
    assert (account.links_received, account.complete) == (40, True)
    assert {type(refused.error) for refused in account.refused} == {InvalidValue}


async def test_an_export_goes_on_behind_the_token_of_a_page(client: Calls) -> None:
    await client.import_links(users(1500))
    page = await first_page(client)
    (rest,) = await exported(client, resume_token=page.resume_token)
    assert [link.user_id for link in (*page.links, *rest.links)] == [link.user_id for link in users(1500)]


async def test_links_may_come_asynchronously(server: Workspace) -> None:
    async def links() -> AsyncIterator[Link]:
        for link in users(1500):
            yield link

    async with AsyncClient(server.address, api_key=server.key) as client:
        assert (await client.import_links(links())).created == 1500


async def test_links_are_taken_in_the_thread_that_calls(server: Workspace) -> None:
    def links() -> Iterator[Link]:
        for link in users(3000):
            threads.add(threading.get_ident())
            yield link

    def call() -> int:
        with Client(server.address, api_key=server.key) as client:
            assert client.import_links(links()).complete
        return threading.get_ident()

    threads: set[int] = set()
    assert {await asyncio.to_thread(call)} == threads


@pytest.mark.parametrize(
    ("links", "error", "told"),
    [
        ([Link(user_id="u", alias_id="a", anonymous_id="s")], TypeError, "alias_id and anonymous_id: "),
        (["u"], TypeError, "import_links takes Links, not str"),
        ("u", TypeError, "import_links takes Links, not str"),
        ([Link(user_id="", user_alias=UserAlias("l", "n"))], ValueError, "is empty"),
        ([Link(profile_id="", anonymous_id="s")], ValueError, "is empty"),
    ],
)
async def test_what_is_no_link_raises(links: Any, error: type[Exception], told: str, client: Calls) -> None:
    with pytest.raises(error, match=told):
        await client.import_links(links)
    assert await exported(client) == []


async def test_an_empty_token_is_not_taken_for_none(client: Calls) -> None:
    with pytest.raises(ValueError, match="resume_token: it is empty"):
        await exported(client, resume_token="")


@pytest.mark.parametrize("raised", [LookupError("of the caller"), grpc.RpcError("of the caller")])
async def test_what_the_links_raise_is_raised_and_the_call_told_of(
    raised: Exception, server: Workspace, api: str
) -> None:
    def links() -> Iterator[Link]:
        yield from users(1500)
        raise raised

    calls: list[Call] = []
    async with client_of(api, server, on_call=calls.append) as client:
        with pytest.raises(type(raised), match="of the caller"):
            await client.import_links(links())
    (call,) = calls
    assert (call.method, call.error and call.error.code) == ("ImportLinks", grpc.StatusCode.CANCELLED)


async def test_a_stream_is_told_of_when_it_has_ended(server: Workspace, api: str) -> None:
    calls: list[Call] = []
    async with client_of(api, server, on_call=calls.append) as client:
        await client.import_links(users(1001))
        await first_page(client)
        await exported(client)
    codes = [(call.method, call.error and call.error.code) for call in calls]
    assert codes == [("ImportLinks", None), ("ExportLinks", grpc.StatusCode.CANCELLED), ("ExportLinks", None)]


async def test_an_import_has_no_deadline_of_its_own(database: Path, api: str) -> None:
    def links() -> Iterator[Link]:
        yield Link(user_id="u")
        with Client(server.address, api_key=KEY, timeout=0.1) as other, pytest.raises(DeadlineExceededError):
            other.alias("u", "a")  # is held, and so lasts longer than the deadline that the import would have

    async with serving(database, servicer=Held().servicer) as server, client_of(api, server, timeout=0.1) as client:
        given = links() if api == "threads" else elsewhere(links())
        assert (await client.import_links(given)).complete


async def elsewhere(links: Iterator[Link]) -> AsyncIterator[Link]:
    """Yield links that are made in another thread."""
    for link in await asyncio.to_thread(list, links):
        yield link


class Streams(Script):
    """Refuses streams as told; else holds them, an import behind its first message, an export behind its first page."""

    def __init__(self) -> None:
        super().__init__()
        self.held = asyncio.Event()
        self.ended = asyncio.Event()

    async def hold(self) -> None:
        """Wait until the call ends."""
        self.held.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    def servicer(self, service: Service, rules: Rules) -> AliasServicer:
        """Return the servicer, for `serving`."""
        streams = self

        class Streaming(AliasServicer):
            async def ImportLinks(
                self, requests: AsyncIterator[v1.ImportLinksRequest], session: Session
            ) -> v1.ImportLinksResponse:
                streams.meet(await anext(requests), session)
                await streams.hold()
                raise AssertionError

            async def ExportLinks(
                self, request: v1.ExportLinksRequest, session: Session
            ) -> AsyncIterator[v1.ExportLinksResponse]:
                streams.meet(request, session)
                try:
                    yield v1.ExportLinksResponse(links=[v1.Link(user_id="u")], resume_token="token")
                    await streams.hold()
                finally:
                    streams.ended.set()  # also where the call ended before it was held

        return Streaming(service, rules)


@pytest_asyncio.fixture
async def streams() -> Streams:
    """What befalls the streams of `streaming`."""
    return Streams()


@pytest_asyncio.fixture
async def streaming(database: Path, streams: Streams) -> AsyncIterator[Server]:
    """A server that holds or refuses streams."""
    async with serving(database, servicer=streams.servicer) as running:
        yield running


async def test_a_stream_without_permission_is_refused(streaming: Server, api: str) -> None:
    async with client_of(api, streaming, api_key=streaming.add_key("aliases.read")) as client:
        with pytest.raises(PermissionMissing):
            await client.import_links(users(5000))
        with pytest.raises(PermissionMissing):
            await exported(client)


async def test_a_refusal_is_told_whatever_was_being_sent_when_it_came(streaming: Server, api: str) -> None:
    async with client_of(api, streaming, api_key=streaming.add_key("aliases.read")) as client:
        for _ in range(150):
            with pytest.raises(PermissionMissing):
                await client.import_links(users(3000))


async def test_an_import_is_not_repeated(streaming: Server, streams: Streams, api: str) -> None:
    streams.refuse(reason("STORE_UNAVAILABLE"))
    async with client_of(api, streaming) as client:
        with pytest.raises(StoreUnavailable):
            await client.import_links(users(1))
    assert len(streams.seen) == 1


async def test_a_deadline_that_is_given_is_kept(streaming: Server, api: str) -> None:
    async with client_of(api, streaming) as client:
        with pytest.raises(DeadlineExceededError):
            await client.import_links(users(1), timeout=0.1)
        with pytest.raises(DeadlineExceededError):  # while a message waits to be sent
            await client.import_links(repeat(Link(user_id="u", alias_id="a" * 400)), timeout=0.3)
        with pytest.raises(DeadlineExceededError):
            await exported(client, timeout=0.1)


async def test_who_stops_early_ends_the_export(streaming: Server, streams: Streams, api: str) -> None:
    async with client_of(api, streaming) as client:
        assert (await first_page(client)).resume_token == "token"
        async with asyncio.timeout(PATIENCE):
            await streams.ended.wait()


@pytest.mark.parametrize("call", [lambda client: client.import_links(users(1)), exported])
async def test_a_stream_whose_client_is_closed_ends_with_an_error(
    call: Callable[[Calls], Any], streaming: Server, streams: Streams, api: str
) -> None:
    async with asyncio.timeout(PATIENCE):
        async with client_of(api, streaming) as client:
            under_way = asyncio.ensure_future(call(client))
            await streams.held.wait()
        with pytest.raises(AkaError, match="CANCELLED"):
            await under_way
        await streams.ended.wait()
        with pytest.raises(RuntimeError, match="The client is closed"):
            await call(client)


@pytest.mark.parametrize("call", [lambda client: client.import_links(users(1)), exported])
async def test_a_stream_whose_task_is_cancelled_is_cancelled(
    call: Callable[[Calls], Any], streaming: Server, streams: Streams
) -> None:
    async with asyncio.timeout(PATIENCE), client_of("asyncio", streaming) as client:
        under_way = asyncio.ensure_future(call(client))
        await streams.held.wait()
        under_way.cancel()
        with suppress(asyncio.CancelledError):
            await under_way
        assert under_way.cancelled()
        await streams.ended.wait()
