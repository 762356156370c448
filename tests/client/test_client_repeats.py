"""What is repeated, and what is not; deadlines."""

import asyncio
import math
from pathlib import Path

import grpc
import pytest

from aka.client import AkaError, Change, Outcome, OutcomeUnknown, Overloaded, RateLimited
from aka.server.methods import SERVICE
from tests.client.calling import Script, client_of, reason
from tests.client.calls import Calls, Workspace
from tests.grpc.wire import KEY, Held, serving

REPEATED = ("STORE_UNAVAILABLE", "OUTCOME_UNKNOWN", "OVERLOADED", "CONFLICT")


@pytest.mark.parametrize("name", REPEATED)
async def test_a_call_that_may_pass_is_repeated(name: str, client: Calls, script: Script) -> None:
    script.refuse(reason(name))
    change = await client.alias("u", "a", create_missing=True)
    assert change.outcome == Outcome.CREATED
    assert len(script.seen) == 2


@pytest.mark.parametrize(
    "name", ["RATE_LIMITED", "ALIAS_TAKEN", "USER_NOT_FOUND", "KEY_REVOKED", "DEADLINE", "INTERNAL"]
)
async def test_any_other_call_is_not_repeated(name: str, client: Calls, script: Script) -> None:
    script.refuse(reason(name), reason(name))
    with pytest.raises(AkaError) as raised:
        await client.alias("u", "a", create_missing=True)
    assert raised.value.reason == name
    assert len(script.seen) == 1


async def test_a_call_is_repeated_as_often_as_the_client_says(server: Workspace, script: Script, api: str) -> None:
    script.refuse(*[reason("OVERLOADED")] * 3)
    async with client_of(api, server, retries=1) as client:
        with pytest.raises(Overloaded):
            await client.resolve("u")
    assert len(script.seen) == 2


async def test_a_client_without_retries_repeats_nothing(server: Workspace, script: Script, api: str) -> None:
    script.refuse(reason("OUTCOME_UNKNOWN"))
    async with client_of(api, server, retries=0) as client:
        with pytest.raises(OutcomeUnknown):
            await client.alias("u", "a", create_missing=True)
    assert len(script.seen) == 1


async def test_a_call_beyond_a_rate_limit_is_not_repeated(database: Path, api: str) -> None:
    async with (
        serving(database, rate_limit="1/day") as server,
        client_of(api, server) as client,
    ):
        await client.resolve("a")
        with pytest.raises(RateLimited):
            await client.resolve("a")
    counted = server.pipeline.metrics.methods[SERVICE, "Resolve"].codes
    assert counted == {grpc.StatusCode.OK.value[0]: 1, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]: 1}


async def test_where_too_many_calls_fail_none_is_repeated(database: Path, api: str) -> None:
    script = Script()
    async with (
        serving(database, servicer=script.servicer) as server,
        client_of(api, server, retries=1) as client,
    ):
        script.refuse(*[reason("OVERLOADED")] * 200)
        await asyncio.gather(*(client.resolve("u") for _ in range(60)), return_exceptions=True)
        script.seen.clear()
        with pytest.raises(Overloaded):
            await client.resolve("u")
    assert len(script.seen) == 1


async def test_what_must_not_be_repeated_blindly_has_a_request_id(client: Calls, script: Script) -> None:
    profile_id = (await client.identify("u", anonymous_id="a")).profile_id
    script.refuse(reason("OUTCOME_UNKNOWN"))
    assert (await client.delete_alias("a")).profile_id == profile_id
    first, second = script.seen
    assert first == second
    assert first.request_id


async def test_a_request_id_that_is_given_is_sent(client: Calls, script: Script) -> None:
    request_id = "01890000-0000-7000-8000-000000000000"
    await client.delete_alias("a", allow_missing=True, request_id=request_id)
    await client.alias("u", "a", create_missing=True, request_id=request_id.replace("0189", "0190"))
    assert [request.request_id for request in script.seen] == [request_id, request_id.replace("0189", "0190")]


async def test_a_large_call_is_repeated_too(client: Calls, script: Script) -> None:
    script.refuse(reason("OVERLOADED"))
    assert len(await client.resolve_all([f"{n:0400}" for n in range(1000)])) == 1000
    assert len(script.seen) == 2


async def test_a_server_that_comes_up_late_is_found(database: Path, api: str) -> None:
    tried = asyncio.Event()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tried.set()
        writer.close()

    nobody = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = f"127.0.0.1:{nobody.sockets[0].getsockname()[1]}"
    async with client_of(api, address, timeout=30) as client:
        call = asyncio.create_task(client.identify("u"))
        await tried.wait()
        nobody.close()
        await nobody.wait_closed()
        async with serving(database, address=address):
            assert isinstance(await call, Change)


async def test_a_call_that_takes_longer_than_it_may_ends(database: Path, api: str) -> None:
    held = Held()
    async with (
        serving(database, servicer=held.servicer) as server,
        client_of(api, server) as client,
    ):
        with pytest.raises(AkaError) as raised:
            await client.alias("u", "a", timeout=0.05)
        held.release.set()
    assert raised.value.code.name == "DEADLINE_EXCEEDED"
    assert not raised.value.nothing_changed


@pytest.mark.parametrize(
    ("of_client", "of_call", "told"), [({}, {}, 5), ({"timeout": 40}, {}, 40), ({"timeout": 40}, {"timeout": 20}, 20)]
)
async def test_every_call_has_a_deadline_that_the_server_is_told(
    of_client: dict[str, float], of_call: dict[str, float], told: float, server: Workspace, script: Script, api: str
) -> None:
    began = asyncio.get_running_loop().time()
    async with client_of(api, server, **of_client) as client:
        await client.resolve("u", **of_call)
    deadline = script.sessions[0].deadline
    assert deadline is not None
    assert began + told <= deadline + 0.1
    assert deadline - 0.1 <= asyncio.get_running_loop().time() + told


async def test_a_deadline_that_cannot_be_is_a_value_error(client: Calls, api: str) -> None:
    for timeout in (0, math.inf, math.nan):
        with pytest.raises(ValueError, match="timeout: "):
            await client.resolve("u", timeout=timeout)
    assert not (await client.resolve("u", timeout=1_000_000_000)).found
    with pytest.raises(ValueError, match="timeout: "):
        async with client_of(api, "127.0.0.1:1", timeout=-1):
            pass


@pytest.mark.parametrize("retries", [-1, 5])
async def test_more_repeats_than_grpc_makes_are_a_value_error(retries: int, api: str) -> None:
    with pytest.raises(ValueError, match="retries: "):
        async with client_of(api, "127.0.0.1:1", retries=retries, api_key=KEY):
            pass
