"""Appizer's dialect: `POST /v1/users/aliases` and `POST /v1/users`."""

from typing import Any

import pytest

from tests.gateway.conftest import Serve
from tests.gateway.served import Gateway
from tests.grpc.wire import UNKNOWN_UUID

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALIASES = "/v1/users/aliases"
USERS = "/v1/users"
DOCUMENTED = {"user_id": "user_123", "alias_id": "legacy_999"}


@pytest.mark.parametrize("path", [ALIASES, "/users/aliases"])
async def test_the_documented_request_gets_the_documented_answer(gateway: Gateway, path: str) -> None:
    await gateway.identified("user_123")
    answer = await gateway.post(path, DOCUMENTED)
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "alias_id": "legacy_999", "user_id": "user_123", "message": "Alias created"},
    )


async def test_an_answer_is_json(gateway: Gateway) -> None:
    await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, DOCUMENTED)
    assert answer.headers["content-type"] == "application/json"


async def test_after_it_either_id_means_the_same_person(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    await gateway.post(ALIASES, DOCUMENTED)
    assert await gateway.profiles("user_123", "legacy_999") == [profile, profile]


async def test_an_alias_that_is_there_already_is_answered_the_same(gateway: Gateway) -> None:
    await gateway.identified("user_123")
    first, second = await gateway.post(ALIASES, DOCUMENTED), await gateway.post(ALIASES, DOCUMENTED)
    assert (second.status_code, second.json()) == (200, first.json())


async def test_the_user_id_is_answered_as_given_though_it_is_an_alias(gateway: Gateway) -> None:
    await gateway.identified("user_123")
    await gateway.post(ALIASES, DOCUMENTED)
    answer = await gateway.post(ALIASES, {"user_id": "legacy_999", "alias_id": "third"})
    assert answer.json()["user_id"] == "legacy_999"


async def test_an_alias_on_an_anonymous_profile_is_joined(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    await gateway.anonymous("legacy_999")
    assert (await gateway.post(ALIASES, DOCUMENTED)).status_code == 200
    assert await gateway.profiles("legacy_999") == [profile]


async def test_a_primary_user_id_is_answered_with_the_primary_id(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, {"primary_user_id": profile, "alias_id": "legacy_999"})
    assert (answer.status_code, answer.json()["user_id"]) == (200, "user_123")


async def test_an_anonymous_profiles_primary_user_id_is_answered_with_itself(gateway: Gateway) -> None:
    (profile,) = await gateway.anonymous("session_1")
    answer = await gateway.post(ALIASES, {"primary_user_id": profile, "alias_id": "legacy_999"})
    assert (answer.status_code, answer.json()["user_id"]) == (200, profile)


async def test_a_primary_user_id_may_be_in_capitals(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, {"primary_user_id": profile.upper(), "alias_id": "legacy_999"})
    assert answer.status_code == 200


async def test_a_user_id_of_null_beside_a_primary_user_id_is_as_if_absent(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, {"user_id": None, "primary_user_id": profile, "alias_id": "legacy_999"})
    assert answer.status_code == 200


async def test_unknown_fields_are_ignored(gateway: Gateway) -> None:
    await gateway.identified("user_123", "legacy_999")
    answer = await gateway.post(ALIASES, DOCUMENTED | {"merge_policy": "MERGE_POLICY_ALWAYS", "createMissing": True})
    assert answer.json()["code"] == "ALIAS_CONFLICT"


@pytest.mark.parametrize(
    ("body", "status", "error", "code"),
    [
        ({"user_id": "user_123"}, 400, "Bad Request", "MISSING_FIELD"),
        ({"user_id": "user_123", "alias_id": 7}, 400, "Bad Request", "INVALID_TYPE"),
        ({"user_id": "user_123", "alias_id": "user_123"}, 400, "Bad Request", "INVALID_REQUEST"),
        ({"user_id": "nobody", "alias_id": "a"}, 404, "Not Found", "USER_NOT_FOUND"),
        ({"user_id": "user_123", "alias_id": "taken"}, 409, "Conflict", "ALIAS_CONFLICT"),
    ],
)
async def test_an_error_has_the_four_members_of_appizers_shape(
    gateway: Gateway, body: Any, status: int, error: str, code: str
) -> None:
    await gateway.identified("user_123", "taken")
    answer = await gateway.post(ALIASES, body)
    shown = answer.json()
    assert (answer.status_code, sorted(shown)) == (status, ["code", "details", "error", "message"])
    assert (shown["error"], shown["code"]) == (error, code)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"alias_id": "a"}, "user_id"),
        ({"user_id": None, "alias_id": "a"}, "user_id"),
        ({"user_id": "", "alias_id": "a"}, "user_id"),
        ({"user_id": "u"}, "alias_id"),
        ({"user_id": "u", "alias_id": None}, "alias_id"),
        ({"user_id": "u", "alias_id": ""}, "alias_id"),
        ({"primary_user_id": UNKNOWN_UUID}, "alias_id"),
        ({"primary_user_id": "", "alias_id": "a"}, "primary_user_id"),
    ],
)
async def test_a_missing_field_is_named(gateway: Gateway, body: Any, field: str) -> None:
    answer = await gateway.post(ALIASES, body)
    shown = answer.json()
    assert (answer.status_code, shown["code"]) == (400, "MISSING_FIELD")
    assert shown["message"] == f"Missing required field: {field}"
    assert shown["details"] == {"field": field}


@pytest.mark.parametrize("field", ["user_id", "primary_user_id", "alias_id"])
@pytest.mark.parametrize("value", [7, 1.5, True, [], {}, ["a"]], ids=repr)
async def test_a_field_of_another_type_is_named(gateway: Gateway, field: str, value: Any) -> None:
    answer = await gateway.post(ALIASES, {"user_id": "u", "alias_id": "a"} | {field: value})
    shown = answer.json()
    assert (answer.status_code, shown["code"], shown["details"]) == (400, "INVALID_TYPE", {"field": field})
    assert shown["message"].startswith(f"{field} must be a string, not a")


@pytest.mark.parametrize("alias", ["null", "[object Object]", "anonymous", "a\u0000b", "a\nb", "x" * 401, "é" * 201])
async def test_a_value_that_cannot_be_is_an_invalid_request(gateway: Gateway, alias: str) -> None:
    await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, {"user_id": "user_123", "alias_id": alias})
    shown = answer.json()
    assert (answer.status_code, shown["code"], shown["details"]["field"]) == (400, "INVALID_REQUEST", "alias_id")


async def test_an_alias_of_400_bytes_is_taken(gateway: Gateway) -> None:
    await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, {"user_id": "user_123", "alias_id": "é" * 200})
    assert (answer.status_code, answer.json()["alias_id"]) == (200, "é" * 200)


async def test_a_user_id_and_a_primary_user_id_together_are_an_invalid_request(gateway: Gateway) -> None:
    answer = await gateway.post(ALIASES, DOCUMENTED | {"primary_user_id": UNKNOWN_UUID})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


async def test_a_primary_user_id_that_is_no_uuid_is_an_invalid_request(gateway: Gateway) -> None:
    answer = await gateway.post(ALIASES, {"primary_user_id": "user_123", "alias_id": "a"})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


async def test_an_unknown_primary_user_id_is_not_found(gateway: Gateway) -> None:
    answer = await gateway.post(ALIASES, {"primary_user_id": UNKNOWN_UUID, "alias_id": "a"})
    assert (answer.status_code, answer.json()["code"]) == (404, "USER_NOT_FOUND")


async def test_an_unknown_user_is_not_made(gateway: Gateway) -> None:
    answer = await gateway.post(ALIASES, DOCUMENTED)
    assert answer.status_code == 404
    assert await gateway.knows("user_123", "legacy_999") == [False, False]


async def test_a_used_alias_is_a_conflict_that_names_both_profiles(gateway: Gateway) -> None:
    user, other = await gateway.identified("user_123", "legacy_999")
    details = (await gateway.post(ALIASES, DOCUMENTED)).json()["details"]
    assert (details["user_profile_id"], details["alias_profile_id"]) == (user, other)


async def test_a_conflict_writes_nothing(gateway: Gateway) -> None:
    before = await gateway.identified("user_123", "legacy_999")
    assert (await gateway.post(ALIASES, DOCUMENTED)).status_code == 409
    assert await gateway.profiles("user_123", "legacy_999") == before


async def test_a_profile_that_is_full_is_a_conflict(serve: Serve) -> None:
    gateway = await serve(max_identifiers=2)
    await gateway.identified("user_123")
    await gateway.post(ALIASES, {"user_id": "user_123", "alias_id": "second"})
    answer = await gateway.post(ALIASES, {"user_id": "user_123", "alias_id": "third"})
    shown = answer.json()
    assert (answer.status_code, shown["code"], shown["details"]["maximum"]) == (409, "ALIAS_CONFLICT", "2")


@pytest.mark.parametrize("path", [USERS, "/users"])
async def test_a_new_user_is_created(gateway: Gateway, path: str) -> None:
    answer = await gateway.post(path, {"user_id": "user_123"})
    (profile,) = await gateway.profiles("user_123")
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "user_id": profile, "external_id": "user_123", "message": "User created"},
    )


async def test_a_known_user_is_updated(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    answer = await gateway.post(USERS, {"user_id": "user_123"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "user_id": profile, "external_id": "user_123", "message": "User updated"},
    )


async def test_an_anonymous_user_becomes_known_by_the_id(gateway: Gateway) -> None:
    (profile,) = await gateway.anonymous("session_1")
    answer = await gateway.post(USERS, {"user_id": "session_1"})
    assert (answer.json()["user_id"], answer.json()["message"]) == (profile, "User updated")


async def attributes(gateway: Gateway, user_id: str) -> Any:
    (profile,) = (await gateway.done("ExportProfiles", {"profiles": [{"id": user_id}]}))["profiles"]
    return profile.get("attributes", {})


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"properties": {"plan": "pro", "age": 7}}, {"plan": "pro", "age": 7}),
        ({"email": "a@b.c", "paid": False, "traits": {"a": 1}}, {"email": "a@b.c", "paid": False, "traits": {"a": 1}}),
        ({"plan": "free", "age": 7, "properties": {"plan": "pro"}}, {"plan": "pro", "age": 7}),
        ({"properties": {"user_id": "user-9"}}, {"user_id": "user-9"}),
    ],
)
async def test_properties_are_stored(gateway: Gateway, given: Any, stored: Any) -> None:
    answer = await gateway.post(USERS, {"user_id": "user_123"} | given)
    assert (answer.status_code, answer.json()["message"]) == (200, "User created")
    assert await attributes(gateway, "user_123") == stored


async def test_properties_are_merged_with_those_that_are_there_and_null_removes_one(gateway: Gateway) -> None:
    await gateway.post(USERS, {"user_id": "user_123", "properties": {"a": 1, "b": 1, "c": 1}})
    answer = await gateway.post(USERS, {"user_id": "user_123", "properties": {"b": 2, "c": None}})
    assert answer.json()["message"] == "User updated"
    assert await attributes(gateway, "user_123") == {"a": 1, "b": 2}


BAD: dict[str, tuple[Any, str, str]] = {
    "no object": ({"properties": 7}, "INVALID_TYPE", "properties must be an object, not a number"),
    "a string": ({"properties": ""}, "INVALID_TYPE", "properties must be an object, not a string"),
    "an empty key": ({"": 1}, "INVALID_REQUEST", "properties has a name that is empty"),
    "a large one": (
        {"properties": {"a": "x" * 900_000}},
        "INVALID_REQUEST",
        "properties.a is 900002 bytes of JSON; 8192",
    ),
    "a deep one": (
        {"a": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]},
        "INVALID_REQUEST",
        "a is nested more than 16",
    ),
    "a large one by its own name": ({"bio": "x" * 9000, "properties": {}}, "INVALID_REQUEST", "bio is 9002 bytes of"),
    "one in both": ({"a": 1, "properties": {"a": "x" * 9000}}, "INVALID_REQUEST", "properties.a is 9002 bytes of JSON"),
    "a number too large": ({"a": 10**400}, "INVALID_REQUEST", "properties has a number that is too large"),
}


@pytest.mark.parametrize(("given", "code", "message"), BAD.values(), ids=BAD.keys())
async def test_properties_that_cannot_be_stored_are_refused_and_the_user_is_not_made(
    gateway: Gateway, given: Any, code: str, message: str
) -> None:
    answer = await gateway.post(USERS, {"user_id": "user_123"} | given)
    shown = answer.json()
    assert (answer.status_code, shown["code"]) == (400, code)
    assert shown["message"].startswith(message)
    assert shown["message"].startswith(shown["details"]["field"])
    assert await gateway.knows("user_123") == [False]


async def test_more_properties_than_a_profile_may_have_are_refused_and_the_user_is_not_made(gateway: Gateway) -> None:
    many = {f"a{number}": "x" * 8000 for number in range(9)}
    answer = await gateway.post(USERS, {"user_id": "user_123", "properties": many})
    shown = answer.json()
    assert (answer.status_code, shown["code"], shown["details"]["maximum"]) == (409, "TOO_MUCH_DATA", "65536")
    assert await gateway.knows("user_123") == [False]


async def test_properties_need_the_permission_for_data(gateway: Gateway) -> None:
    by = gateway.without("profiles.write")
    answer = await by.post(USERS, {"user_id": "user_123", "properties": {"plan": "pro"}})
    assert (answer.status_code, answer.json()["details"]) == (403, {"permission": "profiles.write"})
    assert await gateway.knows("user_123") == [False]
    assert (await by.post(USERS, {"user_id": "user_123"})).status_code == 200


@pytest.mark.parametrize("field", ["traits", "properties"])
async def test_an_alias_with_traits_or_properties_is_refused_and_is_not_linked(gateway: Gateway, field: str) -> None:
    await gateway.identified("user_123")
    answer = await gateway.post(ALIASES, DOCUMENTED | {field: {"plan": "pro"}})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert answer.json()["message"].startswith(f"{field} cannot be stored")
    assert await gateway.knows("legacy_999") == [False]


@pytest.mark.parametrize("empty", [None, {}, []], ids=repr)
async def test_empty_properties_are_taken_without_the_permission_for_data(gateway: Gateway, empty: Any) -> None:
    by = gateway.without("profiles.write")
    answer = await by.post(USERS, {"user_id": "user_123", "properties": empty})
    assert answer.status_code == 200


@pytest.mark.parametrize("body", [{}, {"user_id": None}, {"user_id": ""}], ids=repr)
async def test_a_user_without_an_id_is_a_missing_field(gateway: Gateway, body: Any) -> None:
    answer = await gateway.post(USERS, body)
    shown = answer.json()
    assert (answer.status_code, shown["code"]) == (400, "MISSING_FIELD")
    assert (shown["message"], shown["details"]) == ("Missing required field: user_id", {"field": "user_id"})


@pytest.mark.parametrize("value", [7, [], {"a": 1}, True], ids=repr)
async def test_a_user_id_of_another_type_is_an_invalid_type(gateway: Gateway, value: Any) -> None:
    answer = await gateway.post(USERS, {"user_id": value})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_TYPE")


async def test_a_reserved_user_id_is_an_invalid_request_at_user_id(gateway: Gateway) -> None:
    answer = await gateway.post(USERS, {"user_id": "null"})
    shown = answer.json()
    assert (answer.status_code, shown["code"], shown["details"]["field"]) == (400, "INVALID_REQUEST", "user_id")
    assert shown["message"].startswith("user_id is 'null'")
