"""What calls raise: a class for each reason, and all that the server told."""

import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

import aka.client
from aka.client import (
    AkaError,
    AliasTaken,
    FieldRequired,
    NotFoundError,
    RateLimit,
    RateLimited,
    ResourceExhaustedError,
    UnavailableError,
    UserNotFound,
)
from aka.server.errors import PREFIX, STATUS
from aka.server.status import CODES
from aka.v1 import alias_service_pb2 as v1
from tests.client.calling import Script, client_of, reason
from tests.client.calls import Calls, Workspace
from tests.grpc.wire import serving

NAMES = [name.removeprefix(PREFIX) for name in v1.ErrorReason.keys() if not name.endswith("UNSPECIFIED")]  # noqa: SIM118

NO_SERVER = "127.0.0.1:1"


def class_of(name: str) -> Any:
    """Return the class that a name in capitals stands for."""
    return getattr(aka.client, name.title().replace("_", ""))


async def test_every_reason_has_its_class_below_its_statuss(server: Workspace, script: Script, api: str) -> None:
    async with client_of(api, server, retries=0) as client:
        for name in NAMES:
            script.refuse(reason(name), field="alias_id", user_profile_id="p", alias_profile_id="q")
            with pytest.raises(AkaError) as raised:
                await client.alias("u", "a")
            error = raised.value
            code = CODES[STATUS[reason(name)]]
            assert type(error) is class_of(name)
            assert type(error).__base__ is class_of(f"{code.name}_Error")
            assert (error.code, error.reason) == (code, name)
            assert error.metadata == {"field": "alias_id", "user_profile_id": "p", "alias_profile_id": "q"}
            assert (error.user_profile_id, error.alias_profile_id) == ("p", "q")
            assert error.request_id == script.sessions.pop().request_id


def test_there_is_no_class_for_a_reason_that_there_is_not() -> None:
    statuses = AkaError.__subclasses__()
    assert {leaf for status in statuses for leaf in status.__subclasses__()} == {class_of(name) for name in NAMES}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    def drawn(kind: type, before: str) -> list[str]:
        children: list[type] = kind.__subclasses__()
        if kind is not AkaError:
            children.sort(key=lambda child: child.__name__)
        lines: list[str] = []
        for child in children:
            last = child is children[-1]
            lines.append(f"{before}{'└' if last else '├'}── {child.__name__}")
            lines += drawn(child, f"{before}{' ' if last else '│'}   ")
        return lines

    tree = "\n".join(["    AkaError", *drawn(AkaError, "    ")])
    assert f"\n\n{tree}\n\n" in (aka.client.__doc__ or "")


def test_all_is_sorted_and_is_what_there_is() -> None:
    assert aka.client.__all__ == sorted(aka.client.__all__)
    public = {
        name for name, value in vars(aka.client).items() if not name.startswith("_") and hasattr(value, "__doc__")
    }
    assert set(aka.client.__all__) == public - {"testing"}


async def test_a_message_is_told_with_its_reason(client: Calls) -> None:
    with pytest.raises(UserNotFound) as raised:
        await client.alias("nobody", "a")
    assert str(raised.value).startswith("USER_NOT_FOUND: No profile has the user_id 'nobody'; identify")


async def test_the_field_at_fault_is_told(client: Calls) -> None:
    with pytest.raises(FieldRequired) as raised:
        await client.resolve_all(["a", ""])
    assert raised.value.field == "identifiers[1].id"


async def test_a_rate_limit_is_told_with_the_time_to_wait(database: Any, api: str) -> None:
    async with serving(database, rate_limit="1/day") as server, client_of(api, server) as client:
        await client.resolve("a")
        with pytest.raises(RateLimited) as raised:
            await client.resolve("a")
    error = raised.value
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 86_400
    assert error.rate_limit is not None
    assert (error.rate_limit.limit, error.rate_limit.remaining) == (1, 0)


async def test_an_error_says_whether_it_is_sure_that_nothing_changed(
    server: Workspace, script: Script, api: str
) -> None:
    unsure = []
    async with client_of(api, server, retries=0) as client:
        for name in NAMES:
            script.refuse(reason(name))
            with pytest.raises(AkaError) as raised:
                await client.alias("u", "a")
            if not raised.value.nothing_changed:
                unsure.append(name)
    assert sorted(unsure) == ["DEADLINE", "INTERNAL", "OUTCOME_UNKNOWN"]


async def test_nobody_there_is_unavailable_and_has_the_request_id_that_was_sent(api: str) -> None:
    calls: list[aka.client.Call] = []
    async with client_of(api, NO_SERVER, retries=0, on_call=calls.append) as client:
        with pytest.raises(UnavailableError) as raised:
            await client.alias("u", "a")
    error = raised.value
    assert type(error) is UnavailableError
    assert (error.reason, error.nothing_changed) == (None, False)
    assert error.request_id == calls[0].request_id
    assert isinstance(error.__cause__, grpc.RpcError)


async def test_an_error_goes_to_other_processes_whole(client: Calls) -> None:
    with pytest.raises(UserNotFound) as raised:
        await client.alias("nobody", "a")
    copy = pickle.loads(pickle.dumps(raised.value))
    assert type(copy) is UserNotFound
    assert vars(copy) == vars(raised.value)


@asynccontextmanager
async def refusing(code: grpc.StatusCode, *details: Message, packed: bytes | None = None) -> AsyncIterator[str]:
    """Serve an Alias that another version of aka, or something before it, answers."""

    async def refuse(request: bytes, context: Any) -> bytes:
        status = Status()
        for detail in details:
            one = Packed()
            one.Pack(detail)
            status.details.append(one)
        sent = status.SerializeToString() if packed is None else packed
        await context.abort(code, "no", (("grpc-status-details-bin", sent), ("x-request-id", "theirs")))
        raise AssertionError

    other = grpc.aio.server()
    handlers: Any = {"Alias": grpc.unary_unary_rpc_method_handler(refuse)}
    other.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("aka.v1.AliasService", handlers),))
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await other.stop(0)


@pytest.mark.parametrize(
    ("code", "details", "kind", "told"),
    [
        (grpc.StatusCode.NOT_FOUND, [ErrorInfo(domain="aka", reason="NEW_ONE")], NotFoundError, "NEW_ONE"),
        (grpc.StatusCode.NOT_FOUND, [ErrorInfo(domain="proxy", reason="ALIAS_TAKEN")], NotFoundError, None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, [], ResourceExhaustedError, None),
        (grpc.StatusCode.UNIMPLEMENTED, [], AkaError, None),
        (grpc.StatusCode.CANCELLED, [], AkaError, None),
    ],
)
async def test_what_this_version_does_not_know_is_of_its_statuss_class(
    code: grpc.StatusCode, details: list[Message], kind: type[AkaError], told: str | None, api: str
) -> None:
    async with refusing(code, *details) as address, client_of(api, address, retries=0) as client:
        with pytest.raises(AkaError) as raised:
            await client.alias("u", "a")
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.reason, raised.value.message) == (code, told, "no")
    assert raised.value.nothing_changed is (told is not None)
    assert raised.value.request_id == "theirs"


RUBBISH = Status(details=[Packed(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")])


@pytest.mark.parametrize("packed", [b"\xff", RUBBISH.SerializeToString()])
async def test_details_that_are_rubbish_are_no_details(packed: bytes, api: str) -> None:
    code = grpc.StatusCode.ALREADY_EXISTS
    async with refusing(code, packed=packed) as address, client_of(api, address, retries=0) as client:
        with pytest.raises(AkaError) as raised:
            await client.alias("u", "a")
    assert (raised.value.code, raised.value.reason) == (code, None)


async def test_every_call_is_told_of_when_it_has_ended(database: Any, api: str) -> None:
    calls: list[aka.client.Call] = []
    async with (
        serving(database, rate_limit="100/day") as server,
        client_of(api, server, on_call=calls.append) as client,
    ):
        await client.identify("u")
        await client.identify("v")
        with pytest.raises(AkaError):
            await client.alias("u", "v")
        await client.resolve_all(["u"])
    assert [call.method for call in calls] == ["Identify", "Identify", "Alias", "Resolve"]
    assert [call.error and call.error.reason for call in calls] == [None, None, "IDENTIFIED_PROFILE", None]
    assert [call.rate_limit and call.rate_limit.remaining for call in calls] == [99, 98, 97, 96]
    assert isinstance(calls[0].rate_limit, RateLimit)
    assert all(call.seconds > 0 for call in calls)
    assert len({call.request_id for call in calls}) == 4


def test_an_alias_taken_is_caught_as_what_exists_already() -> None:
    assert issubclass(AliasTaken, aka.client.AlreadyExistsError)
