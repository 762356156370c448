"""Braze's `POST /users/export/ids`, and the document's whole workflow."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from aka.server.gateway import braze_export
from aka.v1 import alias_service_pb2 as v1
from tests.gateway.conftest import Serve
from tests.gateway.served import Gateway
from tests.grpc.wire import UNKNOWN_UUID

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXPORT = "/users/export/ids"

ANN = {"external_id": "ann"}
PAIR = {"alias_name": "7", "alias_label": "device"}


async def post(gateway: Gateway, path: str, body: Any) -> Any:
    answer = await gateway.post(path, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def export(gateway: Gateway, *fields: str, **asked: Any) -> Any:
    return await post(gateway, EXPORT, asked | ({"fields_to_export": fields} if fields else {}))


async def user(gateway: Gateway, external_id: str, *fields: str) -> Any:
    (found,) = (await export(gateway, *fields, external_ids=[external_id]))["users"]
    return found


async def track(gateway: Gateway, **arrays: Any) -> None:
    answer = await post(gateway, "/users/track", arrays)
    assert "errors" not in answer


async def message(gateway: Gateway, name: str, time: str) -> None:
    await gateway.done("Track", {"messages": [{"user_alias": PAIR, "name": name, "time": time}]})


async def test_the_whole_workflow_of_the_document(gateway: Gateway) -> None:
    """An alias-only user is made, tracked, exported, identified into an existing user, and tracked again."""
    subject = {"user_alias": PAIR}
    token = {"app_id": "app", "token": "push-token"}
    await post(gateway, "/users/alias/new", {"user_aliases": [PAIR]})
    (existing,) = await gateway.identified("ann")
    await track(
        gateway,
        attributes=[subject | {"first_name": "Ann", "plan": "free", "push_tokens": [token]}],
        events=[
            subject | {"name": "opened", "time": "2026-01-01T00:00:00Z"},
            subject | {"name": "opened", "time": "2026-01-03T00:00:00Z", "properties": {"page": "/", "n": [1, 2.5]}},
            subject | {"name": "closed", "time": "2026-01-02T00:00:00Z"},
        ],
        purchases=[
            subject
            | {"product_id": "hat", "currency": "EUR", "price": 9.5, "quantity": 2, "time": "2026-01-04T00:00:00Z"}
        ],
    )
    await message(gateway, "welcome", "2026-01-05T00:00:00Z")

    (exported,) = (await export(gateway, user_aliases=[PAIR]))["users"]
    assert exported["first_name"] == "Ann"
    assert exported["custom_attributes"] == {"plan": "free"}
    assert exported["custom_events"] == [
        {
            "name": "opened",
            "first": "2026-01-01T00:00:00Z",
            "last": "2026-01-03T00:00:00Z",
            "count": 2,
            "events": [
                {"name": "opened", "time": "2026-01-01T00:00:00Z"},
                {"name": "opened", "time": "2026-01-03T00:00:00Z", "properties": {"page": "/", "n": [1, 2.5]}},
            ],
        },
        {
            "name": "closed",
            "first": "2026-01-02T00:00:00Z",
            "last": "2026-01-02T00:00:00Z",
            "count": 1,
            "events": [{"name": "closed", "time": "2026-01-02T00:00:00Z"}],
        },
    ]
    assert exported["purchases"] == [
        {
            "name": "hat",
            "first": "2026-01-04T00:00:00Z",
            "last": "2026-01-04T00:00:00Z",
            "count": 2,
            "purchases": [
                {"product_id": "hat", "currency": "EUR", "price": 9.5, "quantity": 2, "time": "2026-01-04T00:00:00Z"}
            ],
        }
    ]
    welcome = {"name": "welcome", "time": "2026-01-05T00:00:00Z"}
    followed = {
        "push_tokens": [{"app": "app", "token": "push-token"}],
        "campaigns_received": [
            {"name": "welcome", "last_received": "2026-01-05T00:00:00Z", "messages": [welcome]},
        ],
    }
    assert followed.items() <= exported.items()

    identified = {"aliases_to_identify": [ANN | {"user_alias": PAIR}]}
    assert await post(gateway, "/users/identify", identified) == {"aliases_processed": 1, "message": "success"}
    left = {name: exported[name] for name in ("first_name", "custom_attributes", "custom_events", "purchases")}
    orphaned = await user(gateway, "ann")
    assert orphaned.pop("created_at")
    assert orphaned == {
        "external_id": "ann",
        "user_aliases": [PAIR],
        "braze_id": existing,
        **followed,
        "orphaned": [{"braze_id": exported["braze_id"], **left}],
    }

    await track(
        gateway,
        attributes=[ANN | {"first_name": exported["first_name"]} | exported["custom_attributes"]],
        events=[ANN | event for entry in exported["custom_events"] for event in entry["events"]],
        purchases=[ANN | purchase for entry in exported["purchases"] for purchase in entry["purchases"]],
    )
    whole = await user(gateway, "ann")
    assert (left | followed).items() <= whole.items()


async def test_a_user_without_data_is_told_by_its_names_alone(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("ann")
    found = await user(gateway, "ann")
    assert found.pop("created_at")
    assert found == {"external_id": "ann", "braze_id": profile}


async def test_an_alias_only_user_has_no_external_id(gateway: Gateway) -> None:
    await post(gateway, "/users/alias/new", {"user_aliases": [PAIR]})
    (found,) = (await export(gateway, "external_id", "user_aliases", user_aliases=[PAIR]))["users"]
    assert found == {"user_aliases": [PAIR]}


async def test_users_are_found_by_external_ids_user_aliases_and_a_braze_id_each_once_in_that_order(
    gateway: Gateway,
) -> None:
    ann, bob = await gateway.identified("ann", "bob")
    await post(
        gateway, "/users/alias/new", {"user_aliases": [{"external_id": "bob"} | PAIR, PAIR | {"alias_name": "8"}]}
    )
    other = {"alias_name": "8", "alias_label": "device"}
    answer = await export(
        gateway, "braze_id", "external_id", external_ids=["ann", "ann"], user_aliases=[PAIR, other], braze_id=bob
    )
    assert answer["users"][:2] == [{"external_id": "ann", "braze_id": ann}, {"external_id": "bob", "braze_id": bob}]
    assert len(answer["users"]) == 3


async def test_what_is_nobodys_is_told_as_it_was_sent(gateway: Gateway) -> None:
    await gateway.identified("ann")
    answer = await export(
        gateway, "external_id", external_ids=["nobody", "ann", "no one"], user_aliases=[PAIR], braze_id=UNKNOWN_UUID
    )
    assert answer == {
        "users": [ANN],
        "message": "success",
        "invalid_user_ids": ["nobody", "no one", "7", UNKNOWN_UUID],
    }


async def test_where_nobody_is_found_there_are_no_users(gateway: Gateway) -> None:
    assert await export(gateway, external_ids=["nobody"]) == {
        "users": [],
        "message": "success",
        "invalid_user_ids": ["nobody"],
    }


TOLD = (
    *("external_id", "braze_id", "created_at", "user_aliases", "email", "custom_attributes", "custom_events"),
    *("purchases", "campaigns_received", "push_tokens", "orphaned"),
)


@pytest.mark.parametrize("field", TOLD)
async def test_only_the_fields_that_are_asked_for_are_told(gateway: Gateway, field: str) -> None:
    await track(gateway, events=[ANN | {"name": "opened"}])
    for item in (ANN, {"user_alias": PAIR, "_update_existing_only": False}):
        await track(
            gateway,
            attributes=[item | {"email": "a@b.c", "plan": 1, "push_tokens": [{"app_id": "a", "token": "t"}]}],
            purchases=[item | {"product_id": "hat", "currency": "EUR", "price": 1}],
        )
    await message(gateway, "welcome", "2026-01-05T00:00:00Z")
    await post(gateway, "/users/identify", {"aliases_to_identify": [ANN | {"user_alias": PAIR}]})
    assert [*(await user(gateway, "ann", field))] == [field]


async def test_fields_that_aka_has_nothing_of_are_left_out(gateway: Gateway) -> None:
    await gateway.identified("ann")
    assert await user(gateway, "ann", "devices", "apps", "random_bucket") == {}


async def test_where_only_names_are_asked_for_no_data_is_read(gateway: Gateway) -> None:
    await gateway.identified("ann")
    await user(gateway, "ann", "external_id")
    assert gateway.trouble.seen[-1].fields.paths == ["push_tokens"]


async def test_a_push_token_is_told_with_its_device(gateway: Gateway) -> None:
    token = {"token": "t", "device_id": "d"}
    await track(gateway, attributes=[ANN | {"push_tokens": [token | {"app_id": "a"}]}])
    assert await user(gateway, "ann", "push_tokens") == {"push_tokens": [token | {"app": "a"}]}


@pytest.mark.parametrize("number", ["7", "-9007199254740991", "1e300", "2.5"])
async def test_a_number_is_told_as_it_was_sent(gateway: Gateway, number: str) -> None:
    content = b'{"attributes": [{"external_id": "ann", "a": %s}]}' % number.encode()
    assert (await gateway.send("POST", "/users/track", content)).status_code == 201
    answer = await gateway.post(EXPORT, {"external_ids": ["ann"], "fields_to_export": ["custom_attributes"]})
    assert f'"custom_attributes":{{"a":{number}}}' in answer.text


async def test_only_what_is_asked_for_is_read(gateway: Gateway) -> None:
    await gateway.identified("ann")
    await user(gateway, "ann", "email", "custom_events", "external_id")
    assert gateway.trouble.seen[-1].fields.paths == ["attributes", "events"]


@pytest.mark.parametrize("fields", [None, []], ids=repr)
async def test_no_fields_to_export_are_all(gateway: Gateway, fields: Any) -> None:
    await track(gateway, attributes=[ANN | {"plan": "pro"}])
    (found,) = (await post(gateway, EXPORT, {"external_ids": ["ann"], "fields_to_export": fields}))["users"]
    assert found["custom_attributes"] == {"plan": "pro"}


BAD: dict[str, tuple[Any, str]] = {
    "nobody": ({}, "external_ids and user_aliases together must have 1 to 50 items, not 0"),
    "nobody at all": ({"external_ids": [], "user_aliases": None}, "external_ids and user_aliases together must have 1"),
    "too many": (
        {"external_ids": ["a"] * 51},
        "external_ids and user_aliases together must have 1 to 50 items, not 51",
    ),
    "too many together": (
        {"external_ids": ["a"] * 30, "user_aliases": [PAIR] * 21},
        "external_ids and user_aliases together must have 1 to 50 items, not 51",
    ),
    "no array": ({"external_ids": "ann"}, "external_ids must be an array, not a string"),
    "one user alias": ({"user_aliases": PAIR}, "user_aliases must be an array, not an object"),
    "an id that is no string": ({"external_ids": ["ann", 7]}, "external_ids[1] must be a string, not a number"),
    "an empty id": ({"external_ids": ["ann", ""]}, "Missing required field: external_ids[1]"),
    "a control character": ({"external_ids": ["\x07"]}, "external_ids[0] has a control character"),
    "a user alias without a label": (
        {"external_ids": ["ann"], "user_aliases": [{"alias_name": "7"}]},
        "Missing required field: user_aliases[0].alias_label",
    ),
    "a user alias that is none": ({"user_aliases": [PAIR, "7"]}, "user_aliases[1] must be an object, not a string"),
    "a braze_id that is none": ({"external_ids": ["ann"], "braze_id": "ann"}, "braze_id "),
    "a braze_id that is no string": ({"braze_id": 7}, "braze_id must be a string"),
    "an unknown field": (
        {"external_ids": ["ann"], "fields_to_export": ["email", "shoe_size"]},
        "fields_to_export names 'shoe_size'; it may name external_id, ",
    ),
    "a field that takes exchange rates": (
        {"external_ids": ["ann"], "fields_to_export": ["total_revenue"]},
        "fields_to_export names 'total_revenue'; it may name",
    ),
    "a field that is no string": ({"external_ids": ["ann"], "fields_to_export": [7]}, "fields_to_export[0] must be"),
    "fields that are no array": ({"external_ids": ["ann"], "fields_to_export": "email"}, "fields_to_export must be an"),
    "an e-mail address": (
        {"external_ids": ["ann"], "email_address": "a@b.c"},
        "email_address finds nobody here; ask by",
    ),
    "a device": ({"device_id": "d"}, "device_id finds nobody here; ask by"),
}


@pytest.mark.parametrize(("body", "why"), BAD.values(), ids=BAD.keys())
async def test_what_cannot_be_asked_is_refused_by_name(gateway: Gateway, body: Any, why: str) -> None:
    answer = await gateway.post(EXPORT, body)
    assert (answer.status_code, answer.json()["errors"]) == (400, [])
    assert answer.json()["message"].startswith(why)


async def many_events(gateway: Gateway, external_id: str, count: int, **properties: str) -> None:
    for start in range(0, count, 75):
        numbers = range(start, min(start + 75, count))
        events = [
            {"external_id": external_id, "name": "opened", "time": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"}
            | {"properties": properties | {"n": n}}
            for n in numbers
        ]
        await track(gateway, events=events)


async def test_a_user_of_many_events_is_told_whole(gateway: Gateway) -> None:
    await many_events(gateway, "ann", 600)
    await many_events(gateway, "bob", 80)
    await track(gateway, attributes=[ANN | {"plan": "pro", "push_tokens": [{"app_id": "a", "token": "t"}]}])
    answer = await export(gateway, external_ids=["ann", "nobody", "bob"])
    ann, bob = answer["users"]
    (opened,) = ann["custom_events"]
    assert (opened["count"], opened["last"]) == (600, "2026-01-01T00:09:59Z")
    assert [event["properties"]["n"] for event in opened["events"]] == list(range(600))
    assert (ann["custom_attributes"], len(ann["push_tokens"])) == ({"plan": "pro"}, 1)
    assert bob["custom_events"][0]["count"] == 80
    assert answer["invalid_user_ids"] == ["nobody"]


async def test_purchases_and_messages_that_take_several_pages_are_told_whole(gateway: Gateway) -> None:
    await post(gateway, "/users/alias/new", {"user_aliases": [PAIR]})
    day = "2026-01-01T00:00:"
    for start in range(0, 525, 75):
        times = [f"{day}{number // 10:02}.{number % 10}Z" for number in range(start, start + 75)]
        bought = {"user_alias": PAIR, "product_id": "hat", "currency": "EUR", "price": 1}
        await track(gateway, purchases=[bought | {"time": time} for time in times])
        messages = [{"user_alias": PAIR, "name": "welcome", "time": time} for time in times]
        await gateway.done("Track", {"messages": messages})
    (found,) = (await export(gateway, user_aliases=[PAIR]))["users"]
    (hat,), (welcome,) = found["purchases"], found["campaigns_received"]
    assert (hat["count"], len(hat["purchases"]), len(welcome["messages"])) == (525, 525, 525)
    assert hat["last"] == welcome["last_received"] == f"{day}52.400Z"


async def test_what_is_orphaned_and_of_many_events_is_told_whole(gateway: Gateway) -> None:
    await post(gateway, "/users/alias/new", {"user_aliases": [PAIR]})
    for start in range(0, 525, 75):
        numbers = range(start, start + 75)
        await track(gateway, events=[{"user_alias": PAIR, "name": "opened", "properties": {"n": n}} for n in numbers])
    await track(gateway, attributes=[{"user_alias": PAIR, "plan": "free"}, ANN])
    await post(gateway, "/users/identify", {"aliases_to_identify": [ANN | {"user_alias": PAIR}]})
    (orphaned,) = (await user(gateway, "ann", "orphaned"))["orphaned"]
    assert orphaned["custom_attributes"] == {"plan": "free"}
    assert orphaned["custom_events"][0]["count"] == 525


@pytest.mark.parametrize(("bound", "value"), [("MAX_BYTES", 1000), ("MAX_PAGES", 1)])
async def test_users_with_more_data_than_an_answer_may_have_are_refused_not_cut(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(braze_export, bound, value)
    await many_events(gateway, "ann", 501)
    answer = await gateway.post(EXPORT, {"external_ids": ["ann"]})
    assert (answer.status_code, answer.json()["errors"]) == (400, [])
    assert answer.json()["message"].startswith("The users have more data than one answer may have")
    assert "custom_events" not in await user(gateway, "ann", "custom_attributes")


async def test_a_user_of_more_identifiers_than_an_export_tells_is_refused_where_they_are_wanted(
    serve: Serve,
) -> None:
    gateway = await serve(max_identifiers=2000)
    await gateway.identified("ann")
    links = [{"user_id": "ann", "alias_id": f"alias_{number}"} for number in range(1000)]
    for first in range(0, 1000, 100):
        await gateway.done("BatchAlias", {"requests": links[first : first + 100]})
    answer = await gateway.post(EXPORT, {"external_ids": ["ann"]})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("A user has 1001 identifiers, more than an export tells")
    assert await user(gateway, "ann", "external_id") == ANN


async def test_what_is_orphaned_is_told_of_its_profile_with_an_attribute_that_is_empty(gateway: Gateway) -> None:
    empty = {"first_name": "", "email_subscribe": False, "note": ""}
    await track(gateway, attributes=[{"user_alias": PAIR, "_update_existing_only": False} | empty, ANN | empty])
    await post(gateway, "/users/identify", {"aliases_to_identify": [ANN | {"user_alias": PAIR}]})
    found = await user(gateway, "ann", "first_name", "email_subscribe", "custom_attributes", "orphaned")
    told = {"first_name": "", "email_subscribe": False, "custom_attributes": {"note": ""}}
    (orphaned,) = found.pop("orphaned")
    assert (found, orphaned.pop("braze_id") != "", orphaned) == (told, True, told)


def before_each_page(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, change: Callable[[], Awaitable[Any]]) -> None:
    """Let something be done before each page of an export but its first."""
    meet = gateway.trouble.meet

    async def change_first(request: Any) -> None:
        if isinstance(request, v1.ExportProfilesRequest) and request.page_token:
            await change()
        await meet(request)

    monkeypatch.setattr(gateway.trouble, "meet", change_first)


@pytest.mark.parametrize("asked", ["ann", "bob"], ids=["survivor", "tombstone"])
async def test_a_user_who_is_merged_while_it_is_read_is_told_whole(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    await many_events(gateway, "ann", 501)
    await many_events(gateway, "bob", 501)
    merge = {"user_id": "ann", "alias_id": "bob", "merge_policy": "MERGE_POLICY_ALWAYS"}
    before_each_page(gateway, monkeypatch, lambda: gateway.done("Alias", merge))
    answer = await export(gateway, "external_id", "custom_events", external_ids=["nobody", asked])
    (found,) = answer["users"]
    assert (found["external_id"], found["custom_events"][0]["count"]) == ("ann", 1002)
    assert answer["invalid_user_ids"] == ["nobody"]


async def test_a_user_who_is_changed_before_every_page_is_not_told_by_halves(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(braze_export, "MAX_PAGES", 4)
    await many_events(gateway, "ann", 501)
    numbers = count()
    before_each_page(
        gateway, monkeypatch, lambda: gateway.done("Alias", {"user_id": "ann", "alias_id": f"alias_{next(numbers)}"})
    )
    answer = await gateway.post(EXPORT, {"external_ids": ["ann"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["message"].startswith("A user was changed again and again")


async def test_each_page_counts_one_a_user_against_the_limit(limited: Gateway) -> None:
    answer = await limited.post(EXPORT, {"external_ids": ["a", "b", "c"]})
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (201, "1")


async def test_the_keys_permission_is_that_of_exports(gateway: Gateway) -> None:
    assert (await gateway.with_only("profiles.export").post(EXPORT, {"external_ids": ["a"]})).status_code == 201
    assert (await gateway.without("profiles.export").post(EXPORT, {"external_ids": ["a"]})).status_code == 403
