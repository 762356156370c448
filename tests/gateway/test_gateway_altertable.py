"""Altertable's dialect: `POST /alias`, `POST /identify` and `POST /track`."""

from typing import Any

import pytest

from tests.gateway.conftest import Serve
from tests.gateway.served import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCUMENTED = {"distinct_id": "user_123", "alias_id": "stripe:cus_abc123"}
EVENT = {"distinct_id": "user_123", "event": "opened"}
OK = {"ok": True, "error_code": None}


async def exported(gateway: Gateway, user_id: str) -> Any:
    (profile,) = (await gateway.done("ExportProfiles", {"profiles": [{"id": user_id}]}))["profiles"]
    return profile


async def test_the_documented_request_is_ok(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", DOCUMENTED)
    assert (answer.status_code, answer.json()) == (200, OK)


async def test_after_it_either_id_means_the_same_person(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    await gateway.post("/alias", DOCUMENTED)
    assert await gateway.profiles("user_123", "stripe:cus_abc123") == [profile, profile]


async def test_the_same_pair_again_is_ok(gateway: Gateway) -> None:
    await gateway.post("/alias", DOCUMENTED)
    assert (await gateway.post("/alias", DOCUMENTED)).json() == OK


async def test_an_unknown_user_is_made_known_by_the_distinct_id(gateway: Gateway) -> None:
    await gateway.post("/alias", DOCUMENTED)
    answer = await gateway.done("Resolve", {"identifiers": [{"id": "stripe:cus_abc123"}]})
    assert answer["resolutions"][0]["userId"] == "user_123"


async def test_two_known_users_become_one(gateway: Gateway) -> None:
    user, _ = await gateway.identified("user_123", "stripe:cus_abc123")
    assert (await gateway.post("/alias", DOCUMENTED)).json() == OK
    assert await gateway.profiles("stripe:cus_abc123") == [user]


async def test_new_user_id_is_another_name_of_alias_id(gateway: Gateway) -> None:
    await gateway.post("/alias", {"distinct_id": "user_123", "new_user_id": "stripe:cus_abc123"})
    assert await gateway.knows("stripe:cus_abc123") == [True]


async def test_both_names_with_one_value_are_ok(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", DOCUMENTED | {"new_user_id": "stripe:cus_abc123"})
    assert answer.json() == OK


async def test_both_names_with_two_values_are_an_invalid_request(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", DOCUMENTED | {"new_user_id": "other"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize("body", [DOCUMENTED, [DOCUMENTED]], ids=["object", "array"])
@pytest.mark.parametrize("environment", ["production", None])
async def test_the_production_environment_or_none_is_ok(gateway: Gateway, body: Any, environment: Any) -> None:
    sent = DOCUMENTED | {"environment": environment}
    answer = await gateway.post("/alias", sent if isinstance(body, dict) else [sent])
    assert (answer.status_code, answer.json()) == (200, OK)


@pytest.mark.parametrize("environment", ["staging", "Production", ""])
@pytest.mark.parametrize("path", ["/alias", "/identify"])
async def test_another_environment_is_not_found(gateway: Gateway, path: str, environment: str) -> None:
    answer = await gateway.post(path, DOCUMENTED | {"environment": environment})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "environment-not-found")
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize("timestamp", ["2026-01-01T00:00:00Z", 1767225600, 1767225600.5, None])
async def test_a_timestamp_is_taken(gateway: Gateway, timestamp: Any) -> None:
    answer = await gateway.post("/alias", DOCUMENTED | {"timestamp": timestamp})
    assert answer.json() == OK


async def test_an_error_has_the_three_members_of_altertables_shape(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", {"distinct_id": "user_123"})
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "ok": False,
            "error_code": "invalid-request",
            "message": "FIELD_REQUIRED: Missing required field: alias_id",
        },
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "distinct_id"),
        ({"alias_id": "a"}, "distinct_id"),
        ({"distinct_id": None, "alias_id": "a"}, "distinct_id"),
        ({"distinct_id": "", "alias_id": "a"}, "distinct_id"),
        ({"distinct_id": "u", "alias_id": None}, "alias_id"),
        ({"distinct_id": "u", "alias_id": ""}, "alias_id"),
        ({"distinct_id": "u", "new_user_id": ""}, "alias_id"),
    ],
)
async def test_a_missing_field_is_named(gateway: Gateway, body: Any, field: str) -> None:
    answer = await gateway.post("/alias", body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].endswith(f"Missing required field: {field}")


MISTYPED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("/alias", "distinct_id"): (True, False, 0, 1.5, [], {}, ["a"]),
    ("/alias", "alias_id"): (True, False, 0, 1.5, [], {}, ["a"]),
    ("/alias", "new_user_id"): (True, False, 0, 1.5, [], {}, ["a"]),
    ("/alias", "environment"): (True, False, 0, 1.5, [], {}, ["a"]),
    ("/alias", "timestamp"): (True, [], {}),
    ("/identify", "anonymous_id"): (True, 0, [], {}),
    ("/identify", "traits"): (True, False, 0, "", [], ["a"]),
}


@pytest.mark.parametrize(
    ("path", "field", "value"), [(*where, value) for where, values in MISTYPED.items() for value in values]
)
async def test_a_field_of_another_type_is_an_invalid_request_that_names_it(
    gateway: Gateway, path: str, field: str, value: Any
) -> None:
    answer = await gateway.post(path, DOCUMENTED | {field: value})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].startswith(f"{field} must be ")


async def test_an_id_linked_to_itself_is_ok_and_makes_nobody(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", {"distinct_id": "user_123", "alias_id": "user_123"})
    assert (answer.status_code, answer.json()) == (200, OK)
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize("field", ["distinct_id", "alias_id"])
async def test_a_reserved_value_is_an_invalid_request_that_names_the_field_as_sent(
    gateway: Gateway, field: str
) -> None:
    answer = await gateway.post("/alias", DOCUMENTED | {field: "user_id"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].startswith(f"RESERVED_IDENTIFIER: {field} is 'user_id', a value")


async def test_what_the_rules_forbid_is_a_failed_alias_with_the_reason(serve: Serve) -> None:
    gateway = await serve(max_identifiers=2)
    await gateway.post("/alias", DOCUMENTED)
    answer = await gateway.post("/alias", {"distinct_id": "user_123", "alias_id": "third"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "alias-failed")
    assert answer.json()["message"].startswith("TOO_MANY_IDENTIFIERS: ")


async def test_two_names_under_one_label_are_a_failed_alias(gateway: Gateway) -> None:
    await gateway.identified("user_123", "stripe:cus_abc123")
    pair = {"alias_label": "crm"}
    items = [
        {"external_id": "user_123", "alias_name": "1"} | pair,
        {"external_id": "stripe:cus_abc123", "alias_name": "2"} | pair,
    ]
    await gateway.done("CreateAliases", {"user_aliases": items})
    answer = await gateway.post("/alias", DOCUMENTED)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "alias-failed")
    assert answer.json()["message"].startswith("LABEL_TAKEN: ")


async def test_to_join_two_known_users_the_key_must_be_allowed_to(gateway: Gateway) -> None:
    await gateway.identified("user_123", "stripe:cus_abc123")
    answer = await gateway.without("profiles.merge").post("/alias", DOCUMENTED)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "permission-denied")


def pair(number: int) -> dict[str, str]:
    return {"distinct_id": f"user_{number}", "alias_id": f"crm:{number}"}


async def test_an_array_is_done_whole(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", [pair(0), pair(1)])
    assert (answer.status_code, answer.json()) == (200, OK)
    assert await gateway.knows("user_0", "crm:0", "user_1", "crm:1") == [True] * 4


async def test_a_failure_in_an_array_is_told_with_its_index_and_what_succeeded(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", [pair(0), pair(1) | {"alias_id": "null"}])
    shown = answer.json()
    assert (answer.status_code, sorted(shown)) == (400, ["error_code", "index", "message", "ok", "succeeded"])
    assert (shown["ok"], shown["error_code"], shown["index"], shown["succeeded"]) == (False, "invalid-request", 1, 1)
    assert shown["message"].startswith("RESERVED_IDENTIFIER: [1].alias_id is 'null'")


async def test_what_is_around_a_failure_is_done(gateway: Gateway) -> None:
    await gateway.post("/alias", [pair(0), pair(1) | {"alias_id": "null"}, pair(2)])
    assert await gateway.knows("crm:0", "user_1", "crm:2") == [True, False, True]


async def test_of_several_failures_the_first_is_told(gateway: Gateway) -> None:
    sent = [pair(0), pair(1) | {"alias_id": "null"}, pair(2) | {"distinct_id": "0"}, pair(3)]
    shown = (await gateway.post("/alias", sent)).json()
    assert (shown["index"], shown["succeeded"]) == (1, 2)


async def test_an_id_linked_to_itself_counts_as_success_in_an_array(gateway: Gateway) -> None:
    itself = {"distinct_id": "user_0", "alias_id": "user_0"}
    shown = (await gateway.post("/alias", [itself, pair(1) | {"alias_id": "null"}])).json()
    assert (shown["index"], shown["succeeded"]) == (1, 1)


async def test_an_array_of_ids_linked_to_themselves_is_ok(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", [{"distinct_id": "user_0", "alias_id": "user_0"}])
    assert (answer.status_code, answer.json()) == (200, OK)


async def test_a_conflict_in_an_array_is_a_failed_alias_with_status_400(serve: Serve) -> None:
    gateway = await serve(max_identifiers=2)
    answer = await gateway.post("/alias", [pair(0), pair(0) | {"alias_id": "third"}])
    shown = answer.json()
    assert (answer.status_code, shown["error_code"], shown["index"]) == (400, "alias-failed", 1)


async def test_a_missing_permission_in_an_array_has_status_400(gateway: Gateway) -> None:
    await gateway.identified("user_123", "stripe:cus_abc123")
    answer = await gateway.without("profiles.merge").post("/alias", [DOCUMENTED])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "permission-denied")


async def test_an_array_of_100_is_done(gateway: Gateway) -> None:
    answer = await gateway.post("/alias", [pair(number) for number in range(100)])
    assert (answer.status_code, answer.json()) == (200, OK)


@pytest.mark.parametrize("count", [0, 101])
async def test_an_array_of_none_or_101_is_an_invalid_request_and_nothing_is_done(gateway: Gateway, count: int) -> None:
    answer = await gateway.post("/alias", [pair(number) for number in range(count)])
    shown = answer.json()
    assert (answer.status_code, shown["error_code"], "index" in shown) == (400, "invalid-request", False)
    assert shown["message"].startswith("BATCH_SIZE: The array must have 1 to 100 items")
    assert await gateway.knows("user_0") == [False]


@pytest.mark.parametrize(
    ("wrong", "error_code"),
    [
        ({"distinct_id": "user_1"}, "invalid-request"),
        ({"distinct_id": "user_1", "alias_id": 7}, "invalid-request"),
        ({"alias_id": "crm:1"}, "invalid-request"),
        ({"distinct_id": "user_1", "alias_id": "crm:1", "environment": "staging"}, "environment-not-found"),
        ("user_1", "invalid-request"),
        (None, "invalid-request"),
        ([], "invalid-request"),
    ],
)
async def test_an_item_of_the_wrong_shape_is_the_whole_calls_failure(
    gateway: Gateway, wrong: Any, error_code: str
) -> None:
    answer = await gateway.post("/alias", [pair(0), wrong])
    shown = answer.json()
    assert (answer.status_code, shown["error_code"], "index" in shown) == (400, error_code, False)
    assert "[1]" in shown["message"]
    assert await gateway.knows("user_0") == [False]


async def test_identify_makes_a_user_known(gateway: Gateway) -> None:
    answer = await gateway.post("/identify", {"distinct_id": "user_123"})
    assert (answer.status_code, answer.json()) == (200, OK)
    assert await gateway.knows("user_123") == [True]


async def test_identify_links_the_anonymous_id(gateway: Gateway) -> None:
    answer = await gateway.post("/identify", {"distinct_id": "user_123", "anonymous_id": "session_1"})
    (user, session) = await gateway.profiles("user_123", "session_1")
    assert (answer.status_code, answer.json(), user) == (200, OK, session)


async def test_identify_again_is_ok(gateway: Gateway) -> None:
    body = {"distinct_id": "user_123", "anonymous_id": "session_1"}
    await gateway.post("/identify", body)
    assert (await gateway.post("/identify", body)).json() == OK


async def test_identify_keeps_what_was_anonymous(gateway: Gateway) -> None:
    (profile,) = await gateway.anonymous("session_1")
    await gateway.post("/identify", {"distinct_id": "user_123", "anonymous_id": "session_1"})
    assert await gateway.profiles("user_123") == [profile]


async def test_identify_on_a_shared_device_logs_the_second_user_in_and_says_so(gateway: Gateway) -> None:
    await gateway.post("/identify", {"distinct_id": "user_1", "anonymous_id": "device"})
    answer = await gateway.post("/identify", {"distinct_id": "user_2", "anonymous_id": "device"})
    shown = answer.json()
    assert (answer.status_code, shown["ok"], shown["error_code"]) == (200, True, None)
    assert shown["message"].startswith("The anonymous_id was not linked: ALREADY_IDENTIFIED: ")


async def test_identify_on_a_shared_device_leaves_the_device_with_the_first_user(gateway: Gateway) -> None:
    await gateway.post("/identify", {"distinct_id": "user_1", "anonymous_id": "device"})
    await gateway.post("/identify", {"distinct_id": "user_2", "anonymous_id": "device"})
    first, second, device = await gateway.profiles("user_1", "user_2", "device")
    assert (device, second == first, bool(second)) == (first, False, True)


@pytest.mark.parametrize("rubbish", ["null", "undefined", "0", "user_123", "a\u0000b", "x" * 401])
async def test_identify_with_a_rubbish_anonymous_id_succeeds_and_says_so(gateway: Gateway, rubbish: str) -> None:
    answer = await gateway.post("/identify", {"distinct_id": "user_123", "anonymous_id": rubbish})
    shown = answer.json()
    assert (answer.status_code, shown["ok"]) == (200, True)
    assert ": anonymous_id " in shown["message"]
    assert await gateway.knows("user_123") == [True]


@pytest.mark.parametrize("absent", [None, ""], ids=repr)
async def test_identify_with_an_anonymous_id_of_null_or_nothing_is_as_without(gateway: Gateway, absent: Any) -> None:
    answer = await gateway.post("/identify", {"distinct_id": "user_123", "anonymous_id": absent})
    assert (answer.status_code, answer.json()) == (200, OK)


@pytest.mark.parametrize("body", [{}, {"anonymous_id": "s"}, {"distinct_id": None}, {"distinct_id": ""}], ids=repr)
async def test_identify_without_a_distinct_id_is_an_invalid_request(gateway: Gateway, body: Any) -> None:
    answer = await gateway.post("/identify", body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].endswith("Missing required field: distinct_id")


@pytest.mark.parametrize("anonymous", [{}, {"anonymous_id": "session_1"}], ids=["alone", "with an anonymous id"])
async def test_identify_as_a_reserved_value_is_an_invalid_request(gateway: Gateway, anonymous: Any) -> None:
    answer = await gateway.post("/identify", {"distinct_id": "null"} | anonymous)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].startswith("RESERVED_IDENTIFIER: distinct_id is 'null'")


@pytest.mark.parametrize(
    ("path", "field"),
    [("/alias", "traits"), ("/alias", "properties"), ("/identify", "properties"), ("/track", "traits")],
)
async def test_what_an_endpoint_does_not_store_is_refused_by_name_and_nobody_is_made(
    gateway: Gateway, path: str, field: str
) -> None:
    answer = await gateway.post(path, DOCUMENTED | EVENT | {field: {"plan": "pro"}})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].startswith(f"{field} cannot be stored")
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize(("path", "item"), [("/alias", DOCUMENTED), ("/track", EVENT)])
async def test_traits_of_an_item_are_refused_with_its_number(gateway: Gateway, path: str, item: Any) -> None:
    answer = await gateway.post(path, [item, item | {"traits": {"plan": "pro"}}])
    assert answer.json()["message"].startswith("[1].traits cannot be stored")
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize("path", ["/alias", "/identify", "/track"])
@pytest.mark.parametrize("empty", [{}, None], ids=repr)
async def test_empty_traits_and_properties_are_taken(gateway: Gateway, path: str, empty: Any) -> None:
    answer = await gateway.post(path, DOCUMENTED | EVENT | {"traits": empty, "properties": empty})
    assert answer.json() == OK


async def test_identify_stores_the_traits(gateway: Gateway) -> None:
    traits = {"email": "ann@example.com", "plan": "pro", "address": {"city": "Ulm"}}
    answer = await gateway.post("/identify", {"distinct_id": "user_123", "traits": traits})
    assert (answer.status_code, answer.json()) == (200, OK)
    assert (await exported(gateway, "user_123"))["attributes"] == traits


async def test_traits_are_merged_with_those_that_are_there_name_by_name(gateway: Gateway) -> None:
    for traits in ({"a": 1, "b": {"x": 1}, "gone": 1}, {"b": {"y": 2}, "c": 3, "gone": None}):
        await gateway.post("/identify", {"distinct_id": "user_123", "traits": traits})
    assert (await exported(gateway, "user_123"))["attributes"] == {"a": 1, "b": {"y": 2}, "c": 3}


@pytest.mark.parametrize("as_sent", [str, lambda time: 1767225600.5 + time], ids=["ISO 8601", "seconds"])
async def test_a_trait_that_is_older_than_the_stored_one_does_not_replace_it(gateway: Gateway, as_sent: Any) -> None:
    times = (as_sent(time) if as_sent is not str else f"2026-01-0{time + 1}T00:00:00Z" for time in (1, 0, 2))
    for time, traits in zip(times, ({"a": "new"}, {"a": "old", "b": "old"}, {"b": "new"}), strict=True):
        await gateway.post("/identify", {"distinct_id": "user_123", "traits": traits, "timestamp": time})
    assert (await exported(gateway, "user_123"))["attributes"] == {"a": "new", "b": "new"}


async def test_traits_are_stored_once_for_who_was_anonymous_and_is_known(gateway: Gateway) -> None:
    await gateway.post("/track", EVENT | {"distinct_id": "session_1"})
    body = {"distinct_id": "user_123", "anonymous_id": "session_1", "traits": {"plan": "pro"}}
    assert (await gateway.post("/identify", body)).json() == OK
    found = await exported(gateway, "user_123")
    assert (found["attributes"], len(found["events"])) == ({"plan": "pro"}, 1)


async def test_traits_are_stored_on_a_shared_device_too(gateway: Gateway) -> None:
    await gateway.post("/identify", {"distinct_id": "user_1", "anonymous_id": "device", "traits": {"a": 1}})
    answer = await gateway.post("/identify", {"distinct_id": "user_2", "anonymous_id": "device", "traits": {"a": 2}})
    assert answer.json()["message"].startswith("The anonymous_id was not linked: ALREADY_IDENTIFIED: ")
    assert [(await exported(gateway, each))["attributes"] for each in ("user_1", "user_2")] == [{"a": 1}, {"a": 2}]


BAD_TRAITS: dict[str, tuple[Any, str]] = {
    "an empty name": ({"": 1}, "INVALID_VALUE: traits has a name that is empty"),
    "a name in it": ({"a": {"external_id": {"": 1}}}, "INVALID_VALUE: traits.a has a name that is empty"),
    "a large one": (
        {"attributes": "x" * 900_000},
        "INVALID_VALUE: traits.attributes is 900002 bytes of JSON; 8192 are",
    ),
    "a deep one": ({"a": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}, "INVALID_VALUE: traits.a is nested more than 16 levels"),
    "too many": ({f"a{n}": "x" * 8000 for n in range(9)}, "TOO_MUCH_DATA: The profile would hold 72036 bytes of"),
    "a number too large": ({"a": 10**400}, "traits has a number that is too large"),
}


@pytest.mark.parametrize(("traits", "why"), BAD_TRAITS.values(), ids=BAD_TRAITS.keys())
@pytest.mark.parametrize("anonymous", [{}, {"anonymous_id": "session_1"}], ids=["alone", "with an anonymous id"])
async def test_traits_that_cannot_be_stored_make_nobody_known_and_link_nothing(
    gateway: Gateway, traits: Any, why: str, anonymous: Any
) -> None:
    answer = await gateway.post("/identify", {"distinct_id": "user_123", "traits": traits} | anonymous)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].startswith(why)
    assert await gateway.knows("user_123", "session_1") == [False, False]


async def test_traits_need_the_permission_for_data(gateway: Gateway) -> None:
    body = {"distinct_id": "user_123", "anonymous_id": "session_1"}
    by = gateway.without("profiles.write")
    answer = await by.post("/identify", body | {"traits": {"plan": "pro"}})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "permission-denied")
    assert await gateway.knows("user_123", "session_1") == [False, False]
    assert (await by.post("/identify", body)).json() == OK


async def test_an_identify_with_traits_counts_one(limited: Gateway) -> None:
    answer = await limited.post("/identify", {"distinct_id": "u", "anonymous_id": "s", "traits": {"a": 1}})
    assert answer.headers["x-ratelimit-remaining"] == "3"


NO_TIMES = ("yesterday", "", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+01:00", 1e300, 1767225600000, -1e12)


@pytest.mark.parametrize("timestamp", NO_TIMES)
@pytest.mark.parametrize(("path", "data"), [("/identify", {"traits": {"a": 1}}), ("/track", {"properties": {"a": 1}})])
async def test_a_timestamp_that_is_no_time_is_an_invalid_request(
    gateway: Gateway, path: str, data: Any, timestamp: Any
) -> None:
    answer = await gateway.post(path, EVENT | data | {"timestamp": timestamp})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid-request")
    assert answer.json()["message"].removeprefix("INVALID_VALUE: ").startswith("timestamp is no time")
    assert await gateway.knows("user_123") == [False]


async def test_track_stores_an_event(gateway: Gateway) -> None:
    body = EVENT | {
        "properties": {"amount": 99.99},
        "timestamp": "2026-01-02T03:04:05.678Z",
        "environment": "production",
    }
    answer = await gateway.post("/track", body | {"device_id": "d", "session_id": "s", "anonymous_id": None})
    assert (answer.status_code, answer.json()) == (200, OK)
    found = await exported(gateway, "user_123")
    assert found["events"] == [
        {"name": "opened", "time": "2026-01-02T03:04:05.678Z", "properties": {"amount": 99.99}},
    ]


async def test_an_event_without_a_timestamp_happened_now(gateway: Gateway) -> None:
    await gateway.post("/track", EVENT)
    found = await exported(gateway, "user_123")
    assert found["events"][0]["time"] == found["createdAt"]


async def test_an_event_of_a_known_user_is_the_users(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    await gateway.post("/track", EVENT)
    assert (await exported(gateway, "user_123"))["profileId"] == profile


@pytest.mark.parametrize(
    "named",
    [
        {"distinct_id": "v"},
        {"distinct_id": None, "anonymous_id": "v"},
        {"distinct_id": "v", "anonymous_id": "visitor-9"},
    ],
    ids=repr,
)
async def test_a_visitor_of_whom_events_are_known_can_be_identified(gateway: Gateway, named: Any) -> None:
    await gateway.post("/track", EVENT | named)
    assert (await exported(gateway, "v"))["identified"] is False
    answer = await gateway.post("/identify", {"distinct_id": "user_123", "anonymous_id": "v"})
    assert answer.json() == OK
    assert [event["name"] for event in (await exported(gateway, "user_123"))["events"]] == ["opened"]


async def test_an_array_of_events_is_done_whole(gateway: Gateway) -> None:
    answer = await gateway.post("/track", [EVENT | {"event": f"e{number}"} for number in range(75)])
    assert (answer.status_code, answer.json()) == (200, OK)
    assert len((await exported(gateway, "user_123"))["events"]) == 75


@pytest.mark.parametrize("count", [0, 76])
async def test_none_or_76_events_are_an_invalid_request_and_nothing_is_done(gateway: Gateway, count: int) -> None:
    answer = await gateway.post("/track", [EVENT] * count)
    shown = answer.json()
    assert (answer.status_code, shown["error_code"], "index" in shown) == (400, "invalid-request", False)
    assert shown["message"] == f"BATCH_SIZE: The array must have 1 to 75 items, not {count}; nothing was applied"
    assert await gateway.knows("user_123") == [False]


BAD_EVENTS: dict[str, tuple[Any, str]] = {
    "a reserved id": ({"distinct_id": "null"}, "RESERVED_IDENTIFIER: {}distinct_id is 'null', a value"),
    "a long name": ({"event": "e" * 256}, "INVALID_VALUE: {}event is 256 bytes"),
    "an empty key": ({"properties": {"": 1}}, "INVALID_VALUE: {}properties has a name that is empty"),
    "a key in it": ({"properties": {"a": {"": 1}}}, "INVALID_VALUE: {}properties has a name that is empty"),
    "large properties": (
        {"properties": {"name": "x" * 900_000}},
        "INVALID_VALUE: {}properties is 900011 bytes of JSON",
    ),
    "a time before all times": ({"timestamp": "0001-01-01T00:00:00+01:00"}, "INVALID_VALUE: {}timestamp is no time"),
    "a time that is no time": ({"timestamp": "yesterday"}, "{}timestamp is no time: ISO 8601 is expected"),
    "a number too large": ({"properties": {"a": 10**400}}, "{}properties has a number that is too large"),
}


@pytest.mark.parametrize(("wrong", "why"), BAD_EVENTS.values(), ids=BAD_EVENTS.keys())
async def test_an_event_that_cannot_be_is_an_invalid_request(gateway: Gateway, wrong: Any, why: str) -> None:
    answer = await gateway.post("/track", EVENT | wrong)
    shown = answer.json()
    assert (answer.status_code, shown["error_code"], "index" in shown) == (400, "invalid-request", False)
    assert shown["message"].startswith(why.format(""))
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize(("wrong", "why"), BAD_EVENTS.values(), ids=BAD_EVENTS.keys())
async def test_an_event_of_an_array_that_cannot_be_fails_alone(gateway: Gateway, wrong: Any, why: str) -> None:
    good = EVENT | {"distinct_id": "user_456"}
    shown = (await gateway.post("/track", [good, EVENT | wrong, good])).json()
    assert (shown["ok"], shown["error_code"], shown["index"], shown["succeeded"]) == (False, "invalid-request", 1, 2)
    assert shown["message"].startswith(why.format("[1]."))
    assert await gateway.knows("user_123", "user_456") == [False, True]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"event": None}, "FIELD_REQUIRED: Missing required field: {}event"),
        ({"event": 7}, "{}event must be a string, not a number"),
        ({"distinct_id": ""}, "FIELD_REQUIRED: Missing required field: {}distinct_id"),
        ({"distinct_id": None, "anonymous_id": ""}, "FIELD_REQUIRED: Missing required field: {}distinct_id"),
        ({"properties": []}, "{}properties must be an object, not an array"),
        ({"timestamp": True}, "{}timestamp must be a string or a number, not a boolean"),
        ({"environment": "staging"}, "{}environment is 'staging'; only 'production' is known"),
    ],
)
async def test_an_event_of_the_wrong_shape_is_the_whole_calls_failure(
    gateway: Gateway, wrong: Any, message: str
) -> None:
    for sent, within in ((EVENT | wrong, ""), ([EVENT, EVENT | wrong], "[1].")):
        answer = await gateway.post("/track", sent)
        assert (answer.status_code, answer.json()["message"]) == (400, message.format(within))
    assert await gateway.knows("user_123") == [False]


async def test_an_array_of_events_counts_one_each(limited: Gateway) -> None:
    assert (await limited.post("/track", [EVENT] * 3)).headers["x-ratelimit-remaining"] == "1"


async def test_track_needs_the_permission_for_data(gateway: Gateway) -> None:
    assert (await gateway.without("profiles.write").post("/track", EVENT)).status_code == 403
    assert (await gateway.with_only("profiles.write").post("/track", EVENT)).json() == OK
