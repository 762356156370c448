"""The stub in process is the generated one's like: what it returns and raises is the same as over the wire."""

from typing import Any

import grpc
import pytest

from aka.server.local_stub import LocalStub
from aka.server.methods import METHODS
from aka.v1 import alias_service_pb2 as v1
from tests.gateway.conftest import Shared
from tests.gateway.served import Gateway, stub_to

pytestmark = pytest.mark.asyncio(loop_scope="session")

KNOWN = v1.IdentifyRequest(aliases_to_identify=[v1.AliasToIdentify(external_id="user_123")])


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


def metadata(gateway: Gateway, **more: str) -> tuple[tuple[str, str], ...]:
    return ("authorization", f"Bearer {gateway.key}"), *((name.replace("_", "-"), more[name]) for name in more)


async def test_a_call_returns_the_response(gateway: Gateway, stub: str) -> None:
    async with stub_to(stub, gateway.server) as called:
        answer = await called.Identify(KNOWN, metadata=metadata(gateway))
    assert answer.results[0].outcome == v1.OUTCOME_CREATED


async def test_a_call_has_trailing_metadata(limited: Gateway, stub: str) -> None:
    async with stub_to(stub, limited.server) as called:
        call = called.Identify(KNOWN, metadata=metadata(limited, x_request_id="abc"))
        await call
        trailers = dict([*await call.trailing_metadata()])
    assert (trailers["x-request-id"], trailers["x-ratelimit-remaining"]) == ("abc", "3")


async def test_an_error_has_code_text_and_trailing_metadata(limited: Gateway, stub: str) -> None:
    async with stub_to(stub, limited.server) as called:
        request = v1.AliasRequest(user_id="nobody", alias_id="a")
        error = await refused(called.Alias(request, metadata=metadata(limited, x_request_id="abc")))
    trailers = dict([*(error.trailing_metadata() or ())])
    assert (error.code(), str(error.details())[:10]) == (grpc.StatusCode.NOT_FOUND, "No profile")
    assert {"x-request-id": "abc", "x-ratelimit-remaining": "3"}.items() <= trailers.items()
    assert b"USER_NOT_FOUND" in trailers["grpc-status-details-bin"]


async def test_a_call_past_its_timeout_is_deadline_exceeded(gateway: Gateway, stub: str) -> None:
    gateway.trouble.holding = True
    async with stub_to(stub, gateway.server) as called:
        error = await refused(called.Identify(KNOWN, metadata=metadata(gateway), timeout=0.05))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_without_metadata_has_no_key(gateway: Gateway, stub: str) -> None:
    async with stub_to(stub, gateway.server) as called:
        assert (await refused(called.Identify(KNOWN))).code() == grpc.StatusCode.UNAUTHENTICATED


async def test_the_stub_in_process_has_no_other_methods(running: Shared) -> None:
    assert not hasattr(LocalStub(running.take().server.pipeline, METHODS), "CreateKey")
