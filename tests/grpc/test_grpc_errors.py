"""Every reason on the wire: its status, its details, and that INTERNAL says nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import code_pb2

from aka.server.errors import PREFIX, RETRY_AFTER, STATUS, AkaError, field_required
from aka.server.methods import METHODS
from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import Wire, serving, wire_to

TABLE = {
    "INVALID_ARGUMENT": {
        "FIELD_REQUIRED",
        "INVALID_VALUE",
        "RESERVED_IDENTIFIER",
        "SELF_ALIAS",
        "BATCH_SIZE",
        "REQUEST_ID_REUSED",
    },
    "NOT_FOUND": {
        "USER_NOT_FOUND",
        "ALIAS_NOT_FOUND",
        "PROFILE_NOT_FOUND",
        "KEY_NOT_FOUND",
        "WORKSPACE_NOT_FOUND",
    },
    "ALREADY_EXISTS": {"ALIAS_TAKEN", "WORKSPACE_EXISTS"},
    "FAILED_PRECONDITION": {
        "IDENTIFIED_PROFILE",
        "ALREADY_IDENTIFIED",
        "LABEL_TAKEN",
        "PRIMARY_IDENTIFIER",
        "LAST_IDENTIFIER",
        "NOT_ON_PROFILE",
        "TOO_MANY_IDENTIFIERS",
        "LAST_OPERATOR_KEY",
        "TOO_MUCH_DATA",
    },
    "UNAUTHENTICATED": {"KEY_MISSING", "KEY_INVALID", "KEY_REVOKED"},
    "PERMISSION_DENIED": {"PERMISSION_MISSING"},
    "RESOURCE_EXHAUSTED": {"RATE_LIMITED", "OVERLOADED"},
    "ABORTED": {"CONFLICT"},
    "UNAVAILABLE": {"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"},
    "DEADLINE_EXCEEDED": {"DEADLINE"},
    "INTERNAL": {"INTERNAL"},
}
"""The documented statuses and their reasons."""

RETRIED = {"RATE_LIMITED", "OVERLOADED", "STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"}

REASONS = [value for value in v1.ErrorReason.values() if value != v1.ERROR_REASON_UNSPECIFIED]

SECRET = "jane@example.com"

Failing = Callable[[Exception], AbstractAsyncContextManager[Wire]]


def name(reason: int) -> str:
    return v1.ErrorReason.Name(v1.ErrorReason.ValueType(reason)).removeprefix(PREFIX)


class Raising:
    """A servicer whose every method raises the same."""

    def __init__(self, error: BaseException) -> None:
        for name, method in METHODS.items():
            setattr(self, name, self._fail_in_a_stream if method.gives_stream else self._fail)
        self._error = error

    async def _fail(self, request: Any, session: Any) -> Any:
        raise self._error

    async def _fail_in_a_stream(self, request: Any, session: Any) -> AsyncIterator[Any]:
        yield await self._fail(request, session)


@pytest.fixture
def failing(tmp_path: Path) -> Failing:
    """Return a client of a server whose methods raise a given error."""

    @asynccontextmanager
    async def failing_with(error: Exception) -> AsyncIterator[Wire]:
        async with (
            serving(tmp_path / "aka.db", servicer=lambda *_: Raising(error)) as server,
            wire_to(server) as wire,
        ):
            yield wire

    return failing_with


def test_every_reason_has_the_documented_status() -> None:
    table: dict[str, set[str]] = {}
    for reason in REASONS:
        table.setdefault(code_pb2.Code.Name(STATUS[reason]), set()).add(name(reason))
    assert table == TABLE


def test_the_table_has_every_reason_and_no_other() -> None:
    assert set(STATUS) == set(REASONS)


def test_only_four_reasons_say_when_to_repeat() -> None:
    assert {name(reason) for reason in RETRY_AFTER} == RETRIED


@pytest.mark.parametrize("reason", REASONS, ids=name)
async def test_a_reason_reaches_the_caller_with_its_status_and_details(
    failing: Failing, reason: v1.ErrorReason.ValueType
) -> None:
    error = AkaError(reason, "cannot be so", some="value") if reason != v1.ERROR_REASON_FIELD_REQUIRED else None
    async with failing(error or field_required("alias_id")) as wire:
        refusal = await wire.refused("Alias", {}, (("x-request-id", "mine"),))
    assert refusal.info is not None
    assert refusal.request is not None
    assert refusal.code.value[0] == refusal.status.code == STATUS[reason]
    assert refusal.status.message == refusal.message
    assert (refusal.reason, refusal.info.domain) == (name(reason), "aka")
    assert refusal.metadata == ({"some": "value"} if error else {"field": "alias_id"})
    assert (refusal.retry is not None) == (name(reason) in RETRIED)
    assert refusal.request.request_id == refusal.trailers["x-request-id"] == "mine"


async def test_when_to_repeat_is_a_positive_time(failing: Failing) -> None:
    async with failing(AkaError(v1.ERROR_REASON_OVERLOADED, "later")) as wire:
        refusal = await wire.refused("Alias", {})
    assert refusal.retry is not None
    assert refusal.retry.retry_delay.ToMilliseconds() > 0


@pytest.mark.parametrize("reason", sorted(TABLE["INVALID_ARGUMENT"]))
async def test_an_invalid_argument_bears_its_fields_path(failing: Failing, reason: str) -> None:
    error = AkaError(v1.ErrorReason.Value(PREFIX + reason), "is wrong", field="user_aliases[7].alias_label")
    async with failing(error) as wire:
        refusal = await wire.refused("CreateAliases", {})
    (violation,) = refusal.violations
    assert (violation.field, violation.reason) == ("user_aliases[7].alias_label", reason)
    assert violation.description == refusal.message


async def test_a_missing_fields_message_is_the_documented_one(wire: Wire) -> None:
    refusal = await wire.refused("Alias", {"user_id": "u"})
    assert refusal.message == "Missing required field: alias_id"


async def test_a_message_begins_with_the_path_of_the_field_at_fault(wire: Wire) -> None:
    refusal = await wire.refused("Alias", {"user_id": "u", "alias_id": "a\x00"})
    assert refusal.message.startswith("alias_id ")


@pytest.mark.parametrize("method", METHODS)
async def test_a_bug_shows_a_fixed_text_and_nothing_of_the_bug(failing: Failing, method: str) -> None:
    async with failing(ValueError(f"no such user: {SECRET}")) as wire:
        refusal = await wire.refused(method, {})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert refusal.message == "aka failed; its log says more under this request id"
    assert refusal.metadata == {}
    assert SECRET not in str(refusal.status)


async def test_a_bug_is_logged_with_its_place_and_request_id_but_not_its_message(failing: Failing) -> None:
    with structlog.testing.capture_logs() as logged:
        async with failing(ValueError(f"no such user: {SECRET}")) as wire:
            await wire.refused("Alias", {"user_id": SECRET, "alias_id": "a"}, (("x-request-id", "mine"),))
    entry, call = logged
    assert call["event"] == "call"
    assert entry.items() >= {"request_id": "mine", "method": "Alias", "error": "ValueError"}.items()
    assert any("_fail" in frame for frame in entry["frames"])
    assert SECRET not in str(entry)


async def test_a_server_serves_on_after_a_bug(failing: Failing) -> None:
    async with failing(ValueError()) as wire:
        for _ in range(3):
            assert (await wire.refused("Alias", {})).reason == "INTERNAL"


async def test_an_error_that_names_the_longest_id_in_any_script_reaches_the_caller(wire: Wire) -> None:
    longest = "\U000e0001" * 100
    refusal = await wire.refused("Alias", {"user_id": longest, "alias_id": "a"})
    assert (refusal.reason, refusal.metadata["user_id"]) == ("USER_NOT_FOUND", longest)


async def test_grpcs_own_errors_have_no_error_info(wire: Wire) -> None:
    refusal = await wire.refused("Alias", b"\x00" * (5 * 1024 * 1024))
    assert (refusal.code, refusal.info) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
