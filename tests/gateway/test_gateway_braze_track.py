"""Braze's `POST /users/track`: what is stored, and what fails item by item."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.gateway.served import Gateway
from tests.grpc.wire import UNKNOWN_UUID

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACK = "/users/track"

ANN: dict[str, Any] = {"external_id": "ann"}
PAIR = {"alias_name": "7", "alias_label": "device"}
NO_VALID_DATA = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."

EVENT: dict[str, Any] = ANN | {"name": "opened", "time": "2026-01-02T03:04:05Z", "properties": {"page": "/"}}
PURCHASE: dict[str, Any] = ANN | {"product_id": "hat", "currency": "EUR", "price": 9.5, "time": "2026-01-02T03:04:06Z"}
GOOD: dict[str, dict[str, Any]] = {"attributes": ANN | {"plan": "pro"}, "events": EVENT, "purchases": PURCHASE}

every_array = pytest.mark.parametrize("array", GOOD)


async def track(gateway: Gateway, **arrays: Sequence[Any]) -> Any:
    answer = await gateway.post(TRACK, arrays)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def exported(gateway: Gateway, key: str | dict[str, str]) -> Any:
    identifier = {"id": key} if isinstance(key, str) else {"user_alias": key}
    (profile,) = (await gateway.done("ExportProfiles", {"profiles": [identifier]}))["profiles"]
    return profile


async def knows(gateway: Gateway, *pairs: dict[str, str]) -> list[bool]:
    answer = await gateway.done("Resolve", {"identifiers": [{"user_alias": pair} for pair in pairs]})
    return [resolution["found"] for resolution in answer["resolutions"]]


async def test_the_three_arrays_are_stored_and_counted(gateway: Gateway) -> None:
    body = {name: [item] for name, item in GOOD.items()} | {"api_key": gateway.key}
    answer = await gateway.with_key(None).post(TRACK, body)
    counts = {"attributes_processed": 1, "events_processed": 1, "purchases_processed": 1}
    assert (answer.status_code, answer.json()) == (201, counts | {"message": "success"})
    found = await exported(gateway, "ann")
    assert found["attributes"] == {"plan": "pro"}
    assert found["events"] == [{"name": "opened", "time": "2026-01-02T03:04:05Z", "properties": {"page": "/"}}]
    assert found["purchases"] == [
        {"productId": "hat", "currency": "EUR", "price": 9.5, "quantity": 1, "time": "2026-01-02T03:04:06Z"}
    ]


@every_array
async def test_only_what_was_sent_is_counted(gateway: Gateway, array: str) -> None:
    assert await track(gateway, **{array: [GOOD[array]] * 2}) == {f"{array}_processed": 2, "message": "success"}


@every_array
async def test_an_array_of_null_is_as_if_absent(gateway: Gateway, array: str) -> None:
    answer = await gateway.post(TRACK, dict.fromkeys(GOOD) | {array: [GOOD[array]]})
    assert answer.json() == {f"{array}_processed": 1, "message": "success"}


async def test_an_attribute_is_any_json_and_null_removes_it(gateway: Gateway) -> None:
    await track(gateway, attributes=[ANN | {"a": [1, {"b": None}], "c": True, "d": "", "e": 1.5, "gone": 1}])
    await track(gateway, attributes=[ANN | {"gone": None, "never": None, "c": {"inc": 1, "other": 2}, "f": {}}])
    assert (await exported(gateway, "ann"))["attributes"] == {
        "a": [1, {"b": None}], "c": {"inc": 1, "other": 2}, "d": "", "e": 1.5, "f": {},
    }  # fmt: skip


async def test_flags_are_no_attributes(gateway: Gateway) -> None:
    flags = dict.fromkeys(("_update_existing_only", "_merge_objects", "push_token_import"), False)
    await track(gateway, attributes=[ANN | flags])
    assert "attributes" not in await exported(gateway, "ann")


@pytest.mark.parametrize("operation", ["inc", "add", "remove", "$add", "$remove", "$update"])
async def test_an_operation_on_an_attribute_is_refused(gateway: Gateway, operation: str) -> None:
    answer = await track(gateway, attributes=[ANN, ANN | {"a": {operation: 1}}])
    assert answer["errors"][0]["type"].startswith("attributes[1].a would change the value that is there")


async def test_push_tokens_are_no_attribute(gateway: Gateway) -> None:
    tokens = [{"app_id": "app", "token": "t"}, {"app_id": "app", "token": "u", "device_id": "d"}]
    await track(gateway, attributes=[ANN | {"push_tokens": tokens}, ANN | {"push_tokens": None}])
    found = await exported(gateway, "ann")
    assert "attributes" not in found
    assert found["pushTokens"] == [
        {"appId": "app", "token": "t", "deviceId": ""},
        {"appId": "app", "token": "u", "deviceId": "d"},
    ]


async def test_a_user_is_named_by_an_external_id_a_user_alias_or_a_braze_id(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("ann")
    await gateway.done("CreateAliases", {"user_aliases": [ANN | PAIR]})
    for number, user in enumerate([ANN, {"user_alias": PAIR}, {"braze_id": profile}]):
        await track(gateway, attributes=[user | {f"a{number}": number}])
    assert (await exported(gateway, "ann"))["attributes"] == {"a0": 0, "a1": 1, "a2": 2}


async def test_an_unknown_external_id_makes_a_user(gateway: Gateway) -> None:
    await track(gateway, events=[EVENT])
    assert (await exported(gateway, "ann"))["identified"] is True


@pytest.mark.parametrize("only", [{}, {"_update_existing_only": True}, {"_update_existing_only": None}], ids=repr)
async def test_an_unknown_user_alias_makes_nobody_where_that_is_not_asked_for(gateway: Gateway, only: Any) -> None:
    answer = await track(gateway, attributes=[ANN, {"user_alias": PAIR, "plan": "free"} | only])
    assert answer["errors"] == [
        {
            "type": "No profile has this user_alias; create it first, or send _update_existing_only as false",
            "input_array": "attributes",
            "index": 1,
        }
    ]
    assert await knows(gateway, PAIR) == [False]


async def test_an_unknown_user_alias_makes_an_alias_only_user_where_that_is_asked_for(gateway: Gateway) -> None:
    await track(gateway, attributes=[{"user_alias": PAIR, "_update_existing_only": False, "plan": "free"}])
    found = await exported(gateway, PAIR)
    assert (found["identified"], found["attributes"]) == (False, {"plan": "free"})


@pytest.mark.parametrize(
    ("user", "why"),
    [
        (
            ANN | {"_update_existing_only": True},
            "No profile has this external_id, and _update_existing_only makes none",
        ),
        ({"braze_id": UNKNOWN_UUID}, "No profile has this braze_id"),
    ],
)
async def test_who_is_unknown_and_is_not_to_be_made_fails(gateway: Gateway, user: Any, why: str) -> None:
    answer = await gateway.post(TRACK, {"attributes": [user | {"plan": "free"}]})
    assert answer.json()["errors"] == [{"type": why, "input_array": "attributes", "index": 0}]
    assert await gateway.knows("ann") == [False]


@pytest.mark.parametrize(
    "time",
    [
        *("2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02T04:04:05+1:00", "2026-01-02T03:04:05+0000"),
        *("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05:000Z", "2026-01-02T03:04:05:000+0000"),
        *("2026-01-02 03:04:05", "2026-01-01T19:04:05-8:00", "20260102T030405Z"),
    ],
)
async def test_a_time_is_taken_in_the_forms_that_are_documented(gateway: Gateway, time: str) -> None:
    await track(gateway, events=[EVENT | {"time": time}])
    assert (await exported(gateway, "ann"))["events"][0]["time"] == "2026-01-02T03:04:05Z"


async def test_microseconds_are_kept(gateway: Gateway) -> None:
    await track(gateway, events=[EVENT | {"time": "1969-12-31T23:59:59.123456Z"}])
    assert (await exported(gateway, "ann"))["events"][0]["time"] == "1969-12-31T23:59:59.123456Z"


@pytest.mark.parametrize("time", [{}, {"time": None}], ids=repr)
async def test_what_has_no_time_happened_now(gateway: Gateway, time: Any) -> None:
    await track(gateway, events=[ANN | {"name": "opened"} | time])
    found = await exported(gateway, "ann")
    assert found["events"][0]["time"] == found["createdAt"]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


BAD: dict[str, tuple[str, Any, str]] = {
    "no object": ("events", 7, "events[1] must be an object, not a number"),
    "nobody": ("events", {"name": "opened"}, "Missing required field: events[1].external_id"),
    "an empty id": ("attributes", {"external_id": "", "a": 1}, "Missing required field: attributes[1].external_id"),
    "an id that is no string": (
        "purchases",
        PURCHASE | {"external_id": 7},
        "purchases[1].external_id must be a string",
    ),
    "a reserved id": ("events", EVENT | {"external_id": "null"}, "events[1].external_id is 'null', a value"),
    "a control character": ("events", EVENT | {"external_id": "\x07"}, "events[1].external_id has a control character"),
    "a braze_id that is none": ("attributes", {"braze_id": "ann", "a": 1}, "attributes[1].braze_id "),
    "two users": ("attributes", ANN | {"user_alias": PAIR}, "attributes[1].external_id, user_alias and braze_id are"),
    "half a user alias": (
        "attributes",
        {"user_alias": {"alias_label": "device"}},
        "Missing required field: attributes[1].user_alias.alias_name",
    ),
    "a user alias that is no object": ("events", {"user_alias": "7"}, "events[1].user_alias must be an object"),
    "a flag that is none": (
        "events",
        EVENT | {"_update_existing_only": "no"},
        "events[1]._update_existing_only must be",
    ),
    "no name": ("events", ANN, "Missing required field: events[1].name"),
    "a name that is no string": ("events", EVENT | {"name": 7}, "events[1].name must be a string, not a number"),
    "a long name": ("events", EVENT | {"name": "n" * 256}, "events[1].name is 256 bytes"),
    "a time that is no time": ("events", EVENT | {"time": "yesterday"}, "events[1].time is no time: ISO 8601"),
    "a time of another calendar": ("events", EVENT | {"time": "2026-02-30T00:00:00Z"}, "events[1].time is no time"),
    "a time before all times": ("events", EVENT | {"time": "0001-01-01T00:00:00+01:00"}, "events[1].time is no time"),
    "a time that is a number": ("purchases", PURCHASE | {"time": 1767225600}, "purchases[1].time must be a string"),
    "an empty time": ("purchases", PURCHASE | {"time": ""}, "purchases[1].time is no time"),
    "properties that are no object": ("events", EVENT | {"properties": []}, "events[1].properties must be an object"),
    "an empty key": ("events", EVENT | {"properties": {"": 1}}, "events[1].properties has a name that is empty"),
    "an empty attribute": ("attributes", ANN | {"": 1}, "attributes[1] has a name that is empty"),
    "an empty key in an attribute": ("attributes", ANN | {"a": {"": 1}}, "attributes[1].a has a name that is empty"),
    "a number too large": ("attributes", ANN | {"a": 10**400}, "attributes[1] has a number that is too large"),
    "a large attribute": ("attributes", ANN | {"a": "x" * 900_000}, "attributes[1].a is 900002 bytes of JSON"),
    "large properties": ("events", EVENT | {"properties": {"a": "x" * 9000}}, "events[1].properties is 9008 bytes"),
    "a deep attribute": ("attributes", ANN | {"a": nested(20)}, "attributes[1].a is nested more than 16 levels"),
    "deep properties": ("purchases", PURCHASE | {"properties": nested(28)}, "purchases[1].properties is nested more"),
    "imported tokens": ("attributes", ANN | {"push_token_import": True}, "attributes[1].push_token_import cannot be"),
    "merged objects": ("attributes", ANN | {"_merge_objects": True}, "attributes[1]._merge_objects cannot be true"),
    "tokens that are no array": (
        "attributes",
        ANN | {"push_tokens": "t"},
        "attributes[1].push_tokens must be an array",
    ),
    "tokens that are an empty string": (
        "attributes",
        ANN | {"push_tokens": ""},
        "attributes[1].push_tokens must be an array",
    ),
    "a token that is no object": ("attributes", ANN | {"push_tokens": ["t"]}, "attributes[1].push_tokens[0] must be"),
    "a token without app": (
        "attributes",
        ANN | {"push_tokens": [{"token": "t"}]},
        "Missing required field: attributes[1].push_tokens[0].app_id",
    ),
    "no product": ("purchases", PURCHASE | {"product_id": None}, "Missing required field: purchases[1].product_id"),
    "no currency": ("purchases", PURCHASE | {"currency": None}, "Missing required field: purchases[1].currency"),
    "a currency that is none": ("purchases", PURCHASE | {"currency": "XYZ"}, "purchases[1].currency is no currency"),
    "a currency in small letters": (
        "purchases",
        PURCHASE | {"currency": "eur"},
        "purchases[1].currency is no currency",
    ),
    "no price": ("purchases", PURCHASE | {"price": None}, "Missing required field: purchases[1].price"),
    "a price that is no number": (
        "purchases",
        PURCHASE | {"price": "9.5"},
        "purchases[1].price must be a number, not a",
    ),
    "a price that is a boolean": ("purchases", PURCHASE | {"price": True}, "purchases[1].price must be a number"),
    "a price too large": ("purchases", PURCHASE | {"price": 10**400}, "purchases[1].price is too large"),
    "no quantity": ("purchases", PURCHASE | {"quantity": 0}, "purchases[1].quantity is 0; a whole number from 1"),
    "half a quantity": ("purchases", PURCHASE | {"quantity": 1.5}, "purchases[1].quantity is 1.5; a whole number"),
    "a quantity below zero": ("purchases", PURCHASE | {"quantity": -1}, "purchases[1].quantity is -1; a whole number"),
    "a quantity too large": ("purchases", PURCHASE | {"quantity": 101}, "purchases[1].quantity is 101; 1 to 100"),
    "a quantity beyond integers": ("purchases", PURCHASE | {"quantity": 2**40}, "purchases[1].quantity is 1.09951e+12"),
}


@pytest.mark.parametrize(("array", "item", "why"), BAD.values(), ids=BAD.keys())
async def test_an_item_that_cannot_be_fails_alone_and_is_told_in_brazes_shape(
    gateway: Gateway, array: str, item: Any, why: str
) -> None:
    good = GOOD[array] | {"external_id": "bob"}
    answer = await track(gateway, **{array: [good, item, good]})
    (error,) = answer["errors"]
    assert (answer["message"], answer[f"{array}_processed"]) == ("success", 2)
    assert (sorted(error), error["input_array"], error["index"]) == (["index", "input_array", "type"], array, 1)
    assert error["type"].startswith(why)
    assert await gateway.knows("ann", "bob") == [False, True]


async def test_items_of_several_arrays_fail_each_under_its_own(gateway: Gateway) -> None:
    answer = await track(gateway, attributes=[{}, ANN], events=[EVENT, 7], purchases=[PURCHASE | {"price": "x"}])
    assert [(error["input_array"], error["index"]) for error in answer["errors"]] == [
        ("attributes", 0),
        ("events", 1),
        ("purchases", 0),
    ]
    assert [answer[f"{array}_processed"] for array in GOOD] == [1, 1, 0]


@every_array
async def test_where_every_item_fails_the_request_does_too(gateway: Gateway, array: str) -> None:
    answer = await gateway.post(TRACK, {array: [{}, GOOD[array] | {"external_id": 7}]})
    shown = answer.json()
    assert (answer.status_code, shown["message"]) == (400, NO_VALID_DATA)
    assert [(error["input_array"], error["index"]) for error in shown["errors"]] == [(array, 0), (array, 1)]


@pytest.mark.parametrize("body", [{}, {"events": []}, {"attributes": [], "purchases": None}], ids=repr)
async def test_a_request_without_items_is_refused(gateway: Gateway, body: Any) -> None:
    answer = await gateway.post(TRACK, body)
    assert (answer.status_code, answer.json()) == (400, {"message": NO_VALID_DATA, "errors": []})


@every_array
async def test_76_items_are_refused_and_nothing_is_done(gateway: Gateway, array: str) -> None:
    answer = await gateway.post(TRACK, {"attributes": [GOOD["attributes"]], array: [GOOD[array]] * 76})
    message = f"{array} must have 1 to 75 items, not 76; nothing was applied"
    assert (answer.status_code, answer.json()) == (400, {"message": message, "errors": []})
    assert await gateway.knows("ann") == [False]


async def test_75_items_of_each_are_done(gateway: Gateway) -> None:
    answer = await track(gateway, **{array: [item] * 75 for array, item in GOOD.items()})
    assert [answer[f"{array}_processed"] for array in GOOD] == [75, 75, 75]


@every_array
@pytest.mark.parametrize("value", [{}, "a", 7, True], ids=repr)
async def test_what_is_no_array_is_refused(gateway: Gateway, array: str, value: Any) -> None:
    answer = await gateway.post(TRACK, {array: value})
    assert (answer.status_code, answer.json()["errors"]) == (400, [])
    assert answer.json()["message"].startswith(f"{array} must be an array")


@pytest.mark.parametrize(
    "deep", [b'{"a":' * 100 + b"1" + b"}" * 100, b"[" * 100 + b"]" * 100], ids=["objects", "arrays"]
)
@pytest.mark.parametrize("array", ["attributes", "events"])
async def test_nesting_100_deep_is_refused_and_nothing_is_done(gateway: Gateway, array: str, deep: bytes) -> None:
    content = b'{"%s": [{"external_id": "ann", "name": "a", "properties": %s}]}' % (array.encode(), deep)
    answer = await gateway.send("POST", TRACK, content)
    assert (answer.status_code, "32 levels" in answer.json()["message"]) == (400, True)
    assert await gateway.knows("ann") == [False]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
async def test_a_number_that_json_cannot_write_is_refused_and_nothing_is_done(gateway: Gateway, number: bytes) -> None:
    content = b'{"attributes": [{"external_id": "ann", "a": %s}]}' % number
    answer = await gateway.send("POST", TRACK, content)
    assert (answer.status_code, answer.json()["errors"]) == (400, [])
    assert await gateway.knows("ann") == [False]


async def test_a_body_of_a_megabyte_of_attribute_is_refused_item_by_item(gateway: Gateway) -> None:
    answer = await track(gateway, attributes=[ANN | {"a": "x" * 1_000_000}, {"external_id": "bob"}])
    assert answer["errors"][0]["type"].startswith("attributes[0].a is 1000002 bytes of JSON; 8192 are allowed")


async def test_each_item_counts_against_the_limit_also_one_that_cannot_be_read(limited: Gateway) -> None:
    answer = await limited.post(TRACK, {"attributes": [GOOD["attributes"], 7], "events": [EVENT]})
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (201, "1")


async def test_the_same_request_again_adds_its_events_again(gateway: Gateway) -> None:
    for _ in range(2):
        await track(gateway, events=[EVENT])
    assert len((await exported(gateway, "ann"))["events"]) == 2
