"""Why a request gets no success, and how each dialect says so."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
import structlog
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from aka.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from aka.server.errors import AkaError
from aka.server.gateway import body, calls, connect
from aka.server.gateway.refusal import HTTP_STATUS, refusal_of
from aka.server.store import group
from aka.v1 import alias_service_pb2 as v1
from aka.v1.alias_service_pb2_grpc import AliasServiceStub
from tests.gateway.served import CONNECT, ENDPOINTS, Gateway, as_json, client_of, rest

pytestmark = pytest.mark.asyncio(loop_scope="session")

APPIZER = ("/v1/users/aliases", "/v1/users")
ALTERTABLE = ("/alias", "/identify", "/track")
BRAZE = ("/users/alias/new", "/users/identify", "/users/track", "/users/export/ids")

SECRET = "what-only-the-inside-knows"

every_endpoint = pytest.mark.parametrize("path", ENDPOINTS)


def codes(path: str, appizer: str, altertable: str) -> dict[str, Any]:
    """What an error's body has of a code at a path; Braze has none."""
    if path in APPIZER:
        return {"code": appizer}
    return {"error_code": altertable} if path in ALTERTABLE else {}


def check_error(answer: httpx.Response, path: str, status: int, appizer: str, altertable: str) -> None:
    """Hold an error against its dialect's shape and the table."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    members = {
        APPIZER: ["code", "details", "error", "message"],
        ALTERTABLE: ["error_code", "message", "ok"],
        BRAZE: ["errors", "message"],
    }
    assert [sorted(shown)] == [names for paths, names in members.items() if path in paths]
    assert shown | codes(path, appizer, altertable) == shown
    assert shown["message"]


@every_endpoint
async def test_without_a_key_nobody_is_let_in(gateway: Gateway, path: str) -> None:
    answer = await gateway.with_key(None).post(path, ENDPOINTS[path])
    check_error(answer, path, 401, "MISSING_AUTH", "invalid-api-key")
    assert answer.headers["www-authenticate"] == "Bearer"


@every_endpoint
async def test_an_unknown_key_is_told_so(gateway: Gateway, path: str) -> None:
    answer = await gateway.with_key("aka_unknown").post(path, ENDPOINTS[path])
    check_error(answer, path, 401, "INVALID_API_KEY", "invalid-api-key")


@every_endpoint
async def test_a_key_that_is_not_sent_as_bearer_is_told_so(gateway: Gateway, path: str) -> None:
    basic = gateway.with_key(None).with_headers(authorization=f"Basic {gateway.key}")
    check_error(await basic.post(path, ENDPOINTS[path]), path, 401, "INVALID_API_KEY", "invalid-api-key")


@every_endpoint
async def test_a_revoked_key_is_told_so(gateway: Gateway, path: str) -> None:
    key = gateway.server.add_key("aliases.write", workspace=gateway.workspace, revoked_at=1)
    answer = await gateway.with_key(key).post(path, ENDPOINTS[path])
    check_error(answer, path, 401, "REVOKED_API_KEY", "invalid-api-key")


@every_endpoint
async def test_an_expired_key_is_told_so(gateway: Gateway, path: str) -> None:
    key = gateway.server.add_key("aliases.write", workspace=gateway.workspace, expires_at=1)
    answer = await gateway.with_key(key).post(path, ENDPOINTS[path])
    check_error(answer, path, 401, "REVOKED_API_KEY", "invalid-api-key")


@every_endpoint
async def test_a_key_without_the_permission_is_told_so(gateway: Gateway, path: str) -> None:
    answer = await gateway.with_only("profiles.read").post(path, ENDPOINTS[path])
    check_error(answer, path, 403, "INSUFFICIENT_PERMISSIONS", "permission-denied")


@every_endpoint
async def test_a_key_over_its_limit_is_told_so_and_how_long_to_wait(limited: Gateway, path: str) -> None:
    await limited.use_up()
    answer = await limited.post(path, ENDPOINTS[path])
    check_error(answer, path, 429, "RATE_LIMIT_EXCEEDED", "rate-limited")
    assert answer.headers["retry-after"] == "20"


async def test_appizer_is_told_the_limit_in_the_details(limited: Gateway) -> None:
    await limited.use_up()
    details = (await limited.post("/v1/users", {"user_id": "user_123"})).json()["details"]
    assert details == {"limit": "4", "window": "minute", "retry_after": "20"}


@every_endpoint
async def test_more_work_than_can_be_done_in_time_is_unavailable(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MAX_WAITING", 0)
    answer = await gateway.post(path, ENDPOINTS[path])
    check_error(answer, path, 503, "SERVICE_UNAVAILABLE", "internal-error")
    assert answer.headers["retry-after"] == "1"


@every_endpoint
async def test_a_store_that_is_closed_is_unavailable(closed: Gateway, path: str) -> None:
    answer = await closed.post(path, ENDPOINTS[path])
    check_error(answer, path, 503, "SERVICE_UNAVAILABLE", "internal-error")
    assert answer.headers["retry-after"] == "1"


@every_endpoint
@pytest.mark.parametrize("reason", ["OVERLOADED", "CONFLICT", "STORE_UNAVAILABLE", "OUTCOME_UNKNOWN", "DEADLINE"])
async def test_what_may_be_repeated_later_is_unavailable(gateway: Gateway, path: str, reason: str) -> None:
    gateway.trouble.next = AkaError(v1.ErrorReason.Value(f"ERROR_REASON_{reason}"), "Repeat it")
    answer = await gateway.post(path, ENDPOINTS[path])
    check_error(answer, path, 503, "SERVICE_UNAVAILABLE", "internal-error")
    assert answer.headers["retry-after"] == "1"


@every_endpoint
async def test_a_call_past_its_deadline_is_unavailable(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_SECONDS", 0.05)
    gateway.trouble.holding = True
    answer = await gateway.post(path, ENDPOINTS[path])
    check_error(answer, path, 503, "SERVICE_UNAVAILABLE", "internal-error")
    assert answer.headers["retry-after"] == "1"


@every_endpoint
async def test_a_bug_behind_the_gateway_is_told_without_a_word_of_the_inside(gateway: Gateway, path: str) -> None:
    gateway.trouble.next = RuntimeError(SECRET)
    answer = await gateway.post(path, ENDPOINTS[path])
    check_error(answer, path, 500, "INTERNAL_ERROR", "internal-error")
    assert not any(word in answer.text for word in (SECRET, "RuntimeError", "Traceback", ".py"))


@every_endpoint
async def test_a_bug_of_the_gateways_own_is_told_without_a_word_of_the_inside(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(body, "decode", fail)
    answer = await gateway.post(path, ENDPOINTS[path])
    check_error(answer, path, 500, "INTERNAL_ERROR", "internal-error")
    assert not any(word in answer.text for word in (SECRET, "RuntimeError", "Traceback", ".py"))


async def test_a_bug_of_the_gateways_own_is_an_internal_error_to_a_connect_client(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(connect, "parse", fail)
    answer = await gateway.call("Resolve", {})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert not any(word in answer.text for word in (SECRET, "RuntimeError", "Traceback", ".py"))


@every_endpoint
async def test_a_bug_of_the_gateways_own_is_logged_under_the_request_id_without_its_message(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(body, "decode", fail)
    with structlog.testing.capture_logs() as logged:
        await gateway.with_headers(x_request_id="find-me").post(path, ENDPOINTS[path])
    (entry,) = logged
    assert (entry["request_id"], entry["error"], SECRET in str(entry)) == ("find-me", "RuntimeError", False)


@pytest_asyncio.fixture(loop_scope="session")
async def cut_off() -> AsyncIterator[httpx.AsyncClient]:
    """A gateway over a channel to a port where nobody listens."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        own = ("grpc.use_local_subchannel_pool", 1)
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{bound.getsockname()[1]}", options=[own]) as channel,
            rest(AliasServiceStub(channel), AdminServiceStub(channel), asyncio.Event()) as address,
            client_of(address) as client,
        ):
            yield client


@every_endpoint
async def test_a_server_that_is_down_is_unavailable(cut_off: httpx.AsyncClient, path: str) -> None:
    answer = await cut_off.post(path, content=as_json(ENDPOINTS[path]))
    check_error(answer, path, 503, "SERVICE_UNAVAILABLE", "internal-error")
    assert answer.headers["retry-after"] == "1"


async def test_a_server_that_is_down_is_told_in_words_of_akas_own(cut_off: httpx.AsyncClient) -> None:
    message = (await cut_off.post("/v1/users", content=b'{"user_id":"u"}')).json()["message"]
    assert message.startswith("The aka server cannot be reached")


async def test_a_server_that_is_down_is_not_said_to_have_changed_nothing(cut_off: httpx.AsyncClient) -> None:
    message = (await cut_off.post("/alias", content=as_json(ENDPOINTS["/alias"]))).json()["message"]
    assert message.startswith("OUTCOME_UNKNOWN: ")


async def test_a_server_that_is_down_is_unavailable_to_a_connect_client(cut_off: httpx.AsyncClient) -> None:
    answer = await cut_off.post(f"{CONNECT}/Resolve", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_a_server_that_is_down_leaves_malformed_json_malformed(cut_off: httpx.AsyncClient) -> None:
    assert (await cut_off.post("/v1/users", content=b"{")).status_code == 400


async def test_a_reason_that_this_gateway_does_not_know_is_an_internal_error() -> None:
    status = Status(code=code_pb2.FAILED_PRECONDITION, message="New")
    status.details.add().Pack(ErrorInfo(reason="A_REASON_OF_TOMORROW", domain="aka"))
    assert refusal_of(status).http_status == 500


async def test_every_reason_of_the_contract_has_a_status() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in v1.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert reasons <= HTTP_STATUS.keys()
