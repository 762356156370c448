"""validate_only, request_id and the size of a batch, for every RPC that has them."""

import asyncio
import uuid
from typing import Any

import grpc
import pytest

from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import Server, Wire, item_fields, outcomes, serving, wire_to

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("Alias", {"user_id": "u", "alias_id": "new"}),
    ("Alias", {"user_id": "new-user", "alias_id": "new", "create_missing": True}),
    ("Alias", {"user_id": "u", "alias_id": "anon"}),
    ("BatchAlias", {"requests": [{"user_id": "u", "alias_id": "new"}, {"user_id": "new", "alias_id": "newer"}]}),
    ("CreateAliases", {"user_aliases": [{"alias_label": "crm", "alias_name": "1"}, {"anonymous_id": "new"}]}),
    (
        "Identify",
        {"aliases_to_identify": [{"external_id": "new"}, {"external_id": "new-user", "anonymous_id": "anon"}]},
    ),
    ("DeleteAlias", {"id": "a"}),
]
"""Calls that change a database made by `some_graph`."""

REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("Alias", {"user_id": "nobody", "alias_id": "new"}),
    ("Alias", {"user_id": "u", "alias_id": "v"}),
    ("BatchAlias", {"requests": []}),
    ("CreateAliases", {"user_aliases": []}),
    ("Identify", {"aliases_to_identify": []}),
    ("DeleteAlias", {"id": "u"}),
    ("DeleteAlias", {"id": "nobody"}),
]

SIZES = [
    ("BatchAlias", "requests", 100, {"user_id": "u", "alias_id": "a"}),
    ("CreateAliases", "user_aliases", 50, {"alias_label": "crm", "alias_name": "1"}),
    ("Identify", "aliases_to_identify", 50, {"external_id": "u"}),
    ("Resolve", "identifiers", 1000, {"id": "u"}),
]

TABLES = ("profiles", "identifiers", "journal", "answers")


async def some_graph(wire: Wire) -> None:
    await wire.identify("u", "v")
    await wire.anonymous("anon")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})


def stored(server: Server) -> list[Any]:
    return [server.rows(f"SELECT * FROM {table}") for table in TABLES]


def named(case: tuple[str, dict[str, Any]]) -> str:
    return f"{case[0]}-{case[1]}"[:60]


def without_new_ids(answer: Any, known: set[str]) -> Any:
    """Return an answer as validate_only gives it: the ids of profiles that it made are left out."""
    if isinstance(answer, dict):
        return {
            name: without_new_ids(value, known)
            for name, value in answer.items()
            if name not in ("profile_id", "merged_profile_id") or value in known
        }
    return [without_new_ids(item, known) for item in answer] if isinstance(answer, list) else answer


def profile_ids(server: Server) -> set[str]:
    return {str(uuid.UUID(bytes=profile_id)) for (profile_id,) in server.rows("SELECT id FROM profiles")}


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_validate_only_writes_nothing(server: Server, wire: Wire, case: tuple[str, dict[str, Any]]) -> None:
    await some_graph(wire)
    before = stored(server)
    await wire(case[0], case[1] | {"validate_only": True, "request_id": str(uuid.uuid4())})
    assert stored(server) == before


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_validate_only_answers_as_the_call_does_but_for_new_ids(
    server: Server, wire: Wire, case: tuple[str, dict[str, Any]]
) -> None:
    await some_graph(wire)
    known = profile_ids(server)
    tried = await wire(case[0], case[1] | {"validate_only": True})
    done = await wire(*case)
    assert tried == without_new_ids(done, known)


@pytest.mark.parametrize("case", REFUSALS, ids=named)
async def test_validate_only_refuses_as_the_call_does(wire: Wire, case: tuple[str, dict[str, Any]]) -> None:
    await some_graph(wire)
    tried = await wire.refused(case[0], case[1] | {"validate_only": True})
    done = await wire.refused(*case)
    assert (tried.code, tried.message, tried.reason, tried.metadata) == (
        done.code,
        done.message,
        done.reason,
        done.metadata,
    )


async def test_validate_only_on_a_batch_lets_later_items_see_earlier_ones(wire: Wire) -> None:
    await some_graph(wire)
    requests = [{"user_id": "u", "alias_id": "b"}, {"user_id": "b", "alias_id": "c"}]
    answer = await wire("BatchAlias", {"requests": requests, "validate_only": True})
    assert outcomes(answer) == ["LINKED", "LINKED"]


async def test_a_malformed_request_id_is_refused_under_validate_only_too(wire: Wire) -> None:
    await some_graph(wire)
    body = {"user_id": "u", "alias_id": "b", "validate_only": True, "request_id": "x"}
    assert (await wire.refused("Alias", body)).field == "request_id"


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_a_repeat_with_a_request_id_gets_the_first_answer(
    server: Server, wire: Wire, case: tuple[str, dict[str, Any]]
) -> None:
    await some_graph(wire)
    body = case[1] | {"request_id": str(uuid.uuid4())}
    first = await wire(case[0], body)
    before = stored(server)
    assert await wire(case[0], body) == first
    assert stored(server) == before


async def test_a_request_id_may_be_repeated_in_another_case(wire: Wire) -> None:
    await some_graph(wire)
    body = {"user_id": "u", "alias_id": "new", "request_id": "01890000-0000-7000-8000-0000000000ab"}
    first = await wire("Alias", body)
    assert await wire("Alias", body | {"request_id": body["request_id"].upper()}) == first


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_repeats_at_the_same_time_get_one_answer(wire: Wire, case: tuple[str, dict[str, Any]]) -> None:
    await some_graph(wire)
    body = case[1] | {"request_id": str(uuid.uuid4())}
    first, *others = await asyncio.gather(*(wire(case[0], body) for _ in range(8)))
    assert others == [first] * 7


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_a_request_id_with_another_body_is_refused_and_writes_nothing(
    server: Server, wire: Wire, case: tuple[str, dict[str, Any]]
) -> None:
    await some_graph(wire)
    request_id = str(uuid.uuid4())
    await wire("Alias", {"user_id": "v", "alias_id": "first", "request_id": request_id})
    before = stored(server)
    refusal = await wire.refused(case[0], case[1] | {"request_id": request_id})
    assert (refusal.code, refusal.reason, refusal.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
        "request_id",
    )
    assert stored(server) == before


async def test_a_request_id_with_another_method_of_the_same_bytes_is_refused(wire: Wire) -> None:
    await some_graph(wire)
    request_id = str(uuid.uuid4())
    body = v1.BatchAliasRequest(requests=[v1.AliasRequest(user_id="u", alias_id="new")], request_id=request_id)
    await wire("BatchAlias", body)
    refusal = await wire.refused("CreateAliases", body)
    assert refusal.reason == "REQUEST_ID_REUSED"


async def test_a_request_id_serves_again_after_a_refusal(wire: Wire) -> None:
    body = {"user_id": "u", "alias_id": "a", "request_id": str(uuid.uuid4())}
    assert (await wire.refused("Alias", body)).reason == "USER_NOT_FOUND"
    await wire.identify("u")
    assert (await wire("Alias", body))["outcome"] == "OUTCOME_LINKED"


async def test_a_request_id_serves_again_after_a_refusal_with_another_body(wire: Wire) -> None:
    await some_graph(wire)
    request_id = str(uuid.uuid4())
    await wire.refused("Alias", {"user_id": "nobody", "alias_id": "b", "request_id": request_id})
    answer = await wire("Alias", {"user_id": "u", "alias_id": "b", "request_id": request_id})
    assert answer["outcome"] == "OUTCOME_LINKED"


async def test_a_batchs_answer_is_kept_with_the_errors_of_its_items(wire: Wire) -> None:
    body = {"requests": [{"user_id": "u", "alias_id": "a"}], "request_id": str(uuid.uuid4())}
    first = await wire("BatchAlias", body)
    await wire.identify("u")
    assert await wire("BatchAlias", body) == first
    assert outcomes(first) == ["USER_NOT_FOUND"]


async def test_validate_only_does_not_keep_its_answer(wire: Wire) -> None:
    await some_graph(wire)
    body = {"user_id": "u", "alias_id": "b", "request_id": str(uuid.uuid4())}
    await wire("Alias", body | {"validate_only": True})
    assert (await wire("Alias", body))["outcome"] == "OUTCOME_LINKED"


async def test_validate_only_does_not_read_kept_answers(wire: Wire) -> None:
    await some_graph(wire)
    body = {"user_id": "u", "alias_id": "b", "request_id": str(uuid.uuid4())}
    await wire("Alias", body)
    assert (await wire("Alias", body | {"validate_only": True}))["outcome"] == "OUTCOME_ALREADY_LINKED"


async def test_a_request_id_is_its_workspaces_own(server: Server, wire: Wire) -> None:
    await some_graph(wire)
    other = wire.with_key(server.add_key("aliases.write", workspace="other"))
    request_id = str(uuid.uuid4())
    await wire("Alias", {"user_id": "u", "alias_id": "b", "request_id": request_id})
    answer = await other("Identify", {"aliases_to_identify": [{"external_id": "u"}], "request_id": request_id})
    assert outcomes(answer) == ["CREATED"]


async def test_a_request_id_is_forgotten_after_a_day(server: Server, wire: Wire) -> None:
    await some_graph(wire)
    body = {"user_id": "u", "alias_id": "b", "request_id": str(uuid.uuid4())}
    await wire("Alias", body)
    server.rows("UPDATE answers SET at = at - 24 * 3600 * 1000000")
    assert (await wire("Alias", body))["outcome"] == "OUTCOME_ALREADY_LINKED"


@pytest.mark.parametrize(
    "value",
    ["x", "0189000000007000800000000000000", "01890000-0000-7000-8000-00000000000g", "{01890000-0000-7000-8000-0}"],
)
@pytest.mark.parametrize("case", [WRITES[0], *WRITES[3:]], ids=named)
async def test_a_request_id_that_is_no_uuid_is_refused(
    wire: Wire, case: tuple[str, dict[str, Any]], value: str
) -> None:
    await some_graph(wire)
    refusal = await wire.refused(case[0], case[1] | {"request_id": value})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "request_id")


@pytest.mark.parametrize(
    ("field", "value"), [("request_id", str(uuid.UUID(int=1))), ("request_id", "x"), ("validate_only", True)]
)
async def test_an_item_of_a_batch_may_not_have_its_own(wire: Wire, field: str, value: Any) -> None:
    await some_graph(wire)
    requests = [{"user_id": "u", "alias_id": "b"}, {"user_id": "u", "alias_id": "c", field: value}]
    answer = await wire("BatchAlias", {"requests": requests})
    assert outcomes(answer) == ["LINKED", "INVALID_VALUE"]
    assert item_fields(answer) == [None, f"requests[1].{field}"]


@pytest.mark.parametrize(("method", "field", "most", "item"), SIZES)
async def test_a_batch_may_have_one_item_and_as_many_as_allowed(
    wire: Wire, method: str, field: str, most: int, item: dict[str, str]
) -> None:
    await wire.identify("u")
    for size in (1, most):
        (results,) = [part for part in (await wire(method, {field: [item] * size})).values() if isinstance(part, list)]
        assert len(results) == size


@pytest.mark.parametrize("too_many", [False, True], ids=["none", "one too many"])
@pytest.mark.parametrize(("method", "field", "most", "item"), SIZES)
async def test_a_batch_of_the_wrong_size_fails_as_a_whole(
    server: Server, wire: Wire, method: str, field: str, most: int, item: dict[str, str], too_many: bool
) -> None:
    size = most + 1 if too_many else 0
    refusal = await wire.refused(method, {field: [item] * size})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_SIZE")
    assert (refusal.field, refusal.metadata) == (
        field,
        {"field": field, "items": str(size), "maximum": str(most)},
    )
    assert server.rows("SELECT * FROM journal") == []


async def test_a_cap_on_a_profiles_identifiers_is_said_with_its_counts(tmp_path: Any) -> None:
    async with serving(tmp_path / "aka.db", max_identifiers=2) as server, wire_to(server) as wire:
        (user,) = await wire.identify("u")
        await wire("Alias", {"user_id": "u", "alias_id": "a"})
        refusal = await wire.refused("Alias", {"user_id": "u", "alias_id": "b"})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_IDENTIFIERS")
    counts = {"identifiers": "3", "tombstones": "0", "maximum": "2", "profile_id": user}
    assert refusal.metadata.items() >= counts.items()
