"""Track and ExportProfiles over the wire: every field, what is refused item by item, paging, permissions, limits."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from aka.v1 import alias_service_pb2 as v1
from tests.grpc.wire import UNKNOWN_UUID, Server, Wire, item_fields, outcomes, serving, wire_to

PAIR = {"alias_label": "device", "alias_name": "7"}
ANN = {"external_id": "ann"}
EVENT = {**ANN, "name": "seen", "time": "2026-01-02T03:04:05.678901Z", "properties": {"page": "/", "n": [1, 2.5]}}
PURCHASE = {**ANN, "product_id": "hat", "currency": "EUR", "price": 9.5, "time": "1969-12-31T23:59:59Z"}
MESSAGE = {**ANN, "name": "welcome", "time": "2026-01-02T03:04:06Z"}

GOOD: dict[type, tuple[str, dict[str, Any]]] = {
    v1.ProfileAttributes: ("attributes", ANN),
    v1.Event: ("events", EVENT),
    v1.Purchase: ("purchases", PURCHASE),
    v1.SentMessage: ("messages", MESSAGE),
}


async def export(wire: Wire, *users: Any, **more: Any) -> list[dict[str, Any]]:
    """Return the profiles of user aliases, of ids (strings), all pages joined."""
    profiles = [{"id": user} if isinstance(user, str) else {"user_alias": user} for user in users]
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        answer = await wire("ExportProfiles", {"profiles": profiles, "page_token": token} | more)
        found += answer.get("profiles", [])
        token = answer.get("next_page_token", "")
        if not token:
            return found


async def refusals(wire: Wire, **items: Any) -> list[tuple[str, int, str, str]]:
    """Track, and return the list, the place, the reason and the field of each item that was refused."""
    request = json_format.ParseDict({"validate_only": False}, v1.TrackRequest())
    for name, messages in items.items():
        getattr(request, name).extend(messages)
    answer = await wire("Track", request)
    found = []
    for error in answer.get("errors", []):
        violations = [each for detail in error["error"]["details"] for each in detail.get("field_violations", [])]
        field = violations[0]["field"] if violations else ""
        reason = error["reason"].removeprefix("ERROR_REASON_")
        found.append((error["input_array"], error.get("index", 0), reason, field))
    return found


async def test_the_workflow_of_the_document(wire: Wire) -> None:
    """An alias-only user is made, tracked, exported, identified into an existing user, and tracked again."""
    created = await wire("CreateAliases", {"user_aliases": [PAIR]})
    alias_only = created["results"][0]["profile_id"]
    await wire.identify("ann")
    subject = {"user_alias": PAIR}
    token = {"app_id": "app", "token": "push-token-1"}
    event, purchase, message = ({**item, **subject} for item in (EVENT, PURCHASE, MESSAGE))
    for item in (event, purchase, message):
        del item["external_id"]
    attributes = {**subject, "attributes": {"first_name": "Ann", "plan": "free"}, "push_tokens": [token]}
    assert await wire(
        "Track", {"attributes": [attributes], "events": [event], "purchases": [purchase], "messages": [message]}
    ) == {"attributes_processed": 1, "events_processed": 1, "purchases_processed": 1, "messages_processed": 1}

    [exported] = await export(wire, PAIR)
    assert exported["attributes"] == {"first_name": "Ann", "plan": "free"}

    identified = await wire("Identify", {"aliases_to_identify": [{**ANN, "user_alias": PAIR}]})
    assert outcomes(identified) == ["MERGED"]
    [orphaned] = await export(wire, "ann")
    assert orphaned["push_tokens"] == [token]
    assert [each["name"] for each in orphaned["messages"]] == ["welcome"]
    assert not orphaned.keys() & {"attributes", "events", "purchases"}
    left = {name: exported[name] for name in ("attributes", "events", "purchases")}
    assert orphaned["orphaned"] == [{"profile_id": alias_only, **left}]

    await wire(
        "Track",
        {
            "attributes": [{**ANN, "attributes": exported["attributes"]}],
            "events": [{**ANN, **each} for each in exported["events"]],
            "purchases": [{**ANN, **each} for each in exported["purchases"]],
        },
    )
    [whole] = await export(wire, "ann")
    assert {name: whole[name] for name in left} == left
    assert whole["push_tokens"] == [token]


async def test_an_export_tells_all_that_is_kept(wire: Wire) -> None:
    await wire("Identify", {"aliases_to_identify": [{**ANN, "anonymous_id": "cookie"}]})
    item = {**ANN, "attributes": {"a": [1, {"b": None}], "gone": None}, "set_once": {"a": 2, "c": "é"}}
    await wire("Track", {"attributes": [item], "events": [EVENT], "purchases": [PURCHASE], "messages": [MESSAGE]})
    profile = (await wire("GetProfile", {"identifier": {"id": "ann"}}))["profile"]
    [found] = await export(wire, "ann")
    assert found == {
        "profile_id": profile["profile_id"],
        "user_id": "ann",
        "identified": True,
        "created_at": profile["created_at"],
        "updated_at": profile["updated_at"],
        "identifiers": profile["identifiers"],
        "identifier_count": 2,
        "attributes": {"a": [1.0, {"b": None}], "c": "é"},
        "events": [{name: value for name, value in EVENT.items() if name != "external_id"}],
        "purchases": [
            {
                "product_id": "hat",
                "currency": "EUR",
                "price": 9.5,
                "quantity": 1,
                "time": "1969-12-31T23:59:59Z",
            }
        ],
        "messages": [{"name": "welcome", "time": "2026-01-02T03:04:06Z"}],
    }


@pytest.mark.parametrize("field", ["identifiers", "attributes", "push_tokens", "events", "purchases", "messages"])
async def test_only_the_fields_that_are_asked_for_are_told(wire: Wire, field: str) -> None:
    item = {**ANN, "attributes": {"a": 1}, "push_tokens": [{"app_id": "app", "token": "t"}]}
    await wire("Track", {"attributes": [item], "events": [EVENT], "purchases": [PURCHASE], "messages": [MESSAGE]})
    camel = "pushTokens" if field == "push_tokens" else field
    [found] = await export(wire, "ann", fields=f"{camel},orphaned")
    always = {"profile_id", "user_id", "identified", "created_at", "updated_at", "identifier_count"}
    assert found.keys() - always == {field}


async def test_what_is_orphaned_is_told_whole_where_only_that_is_asked_for(wire: Wire) -> None:
    await wire("Track", {"events": [{"user_alias": PAIR, "name": "seen"}], "attributes": [ANN]})
    await wire("Identify", {"aliases_to_identify": [{**ANN, "user_alias": PAIR}]})
    [found] = await export(wire, "ann", fields="orphaned")
    assert [event["name"] for event in found["orphaned"][0]["events"]] == ["seen"]
    assert "events" not in found


async def test_an_unknown_field_is_refused(wire: Wire) -> None:
    refusal = await wire.refused("ExportProfiles", {"profiles": [{"id": "ann"}], "fields": "attributes,email"})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "fields")


async def test_a_tombstones_profile_id_tells_its_survivor_and_what_it_was_left_with(wire: Wire) -> None:
    await wire("Track", {"events": [{"user_alias": PAIR, "name": "seen"}], "attributes": [ANN]})
    merged = await wire("Identify", {"aliases_to_identify": [{**ANN, "user_alias": PAIR}]})
    tombstone = merged["results"][0]["merged_profile_id"]
    answer = await wire("ExportProfiles", {"profiles": [{"profile_id": tombstone}]})
    [found] = answer["profiles"]
    assert (found["user_id"], found["redirected_from"]) == ("ann", tombstone)
    assert found["orphaned"][0]["profile_id"] == tombstone


async def test_unknown_identifiers_are_told_by_their_places(wire: Wire) -> None:
    await wire("Track", {"attributes": [ANN]})
    ids = [{"id": "nobody"}, {"id": "ann"}, {"user_alias": PAIR}, {"profile_id": UNKNOWN_UUID}, {"id": "ann"}]
    answer = await wire("ExportProfiles", {"profiles": ids})
    assert answer["not_found"] == [0, 2, 3]
    assert [profile["index"] for profile in answer["profiles"]] == [1, 4]


async def test_a_malformed_identifier_fails_the_export(wire: Wire) -> None:
    refusal = await wire.refused("ExportProfiles", {"profiles": [{"id": "ann"}, {"profile_id": "ann"}]})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "profiles[1].profile_id")


@pytest.mark.parametrize("count", [0, 51])
async def test_an_export_of_too_few_or_too_many_is_refused(wire: Wire, count: int) -> None:
    refusal = await wire.refused("ExportProfiles", {"profiles": [{"id": "ann"}] * count})
    assert (refusal.reason, refusal.field) == ("BATCH_SIZE", "profiles")


async def test_an_export_that_is_too_large_for_an_answer_goes_on_in_the_next(wire: Wire) -> None:
    text = "x" * 8000
    for user in ("ann", "bob"):
        for start in range(0, 150, 75):
            events = [
                {"external_id": user, "name": str(number), "time": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"}
                | {"properties": {"text": text}}
                for number in range(start, start + 75)
            ]
            await wire("Track", {"events": events})
    answer = await wire.send("ExportProfiles", {"profiles": [{"id": "ann"}, {"id": "bob"}, {"id": "nobody"}]})
    assert answer.body["next_page_token"]
    assert "not_found" not in answer.body
    names: dict[str, list[str]] = {"ann": [], "bob": []}
    for part in await export(wire, "ann", "bob"):
        names[part["user_id"]] += (event["name"] for event in part["events"])
    assert names == {user: [str(number) for number in range(150)] for user in ("ann", "bob")}


async def test_many_small_events_are_told_in_order_and_once(wire: Wire) -> None:
    for start in range(0, 600, 75):
        await wire("Track", {"events": [{**ANN, "name": str(number)} for number in range(start, start + 75)]})
    parts = await export(wire, "ann")
    assert len(parts) == 2
    assert [event["name"] for part in parts for event in part["events"]] == [str(number) for number in range(600)]


async def test_a_token_of_another_export_is_refused(wire: Wire) -> None:
    for start in range(0, 525, 75):
        await wire("Track", {"events": [{**ANN, "name": str(number)} for number in range(start, start + 75)]})
    answer = await wire("ExportProfiles", {"profiles": [{"id": "ann"}]})
    refusal = await wire.refused(
        "ExportProfiles", {"profiles": [{"id": "bob"}], "page_token": answer["next_page_token"]}
    )
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "page_token")


def _number(value: float) -> Struct:
    struct = Struct()
    struct["n"] = value
    return struct


def _nested(levels: int) -> Struct:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    struct = Struct()
    struct.update(value)
    return struct


def _named(name: str) -> Struct:
    struct = Struct()
    struct[name] = 1
    return struct


def _attributes(**more: Any) -> v1.ProfileAttributes:
    return v1.ProfileAttributes(external_id="u", **more)


def _purchase(**more: Any) -> v1.Purchase:
    return v1.Purchase(external_id="u", **more)


@pytest.mark.parametrize(
    ("item", "reason", "field"),
    [
        (v1.ProfileAttributes(), "FIELD_REQUIRED", "external_id"),
        (v1.ProfileAttributes(external_id=""), "FIELD_REQUIRED", "external_id"),
        (v1.ProfileAttributes(external_id="a\n"), "INVALID_VALUE", "external_id"),
        (v1.ProfileAttributes(profile_id="ann"), "INVALID_VALUE", "profile_id"),
        (v1.ProfileAttributes(profile_id=UNKNOWN_UUID), "PROFILE_NOT_FOUND", ""),
        (v1.ProfileAttributes(external_id="null"), "RESERVED_IDENTIFIER", "external_id"),
        (_attributes(attributes=_number(float("nan"))), "INVALID_VALUE", "attributes.n"),
        (_attributes(attributes=_number(float("inf"))), "INVALID_VALUE", "attributes.n"),
        (_attributes(attributes=_named("")), "INVALID_VALUE", "attributes"),
        (_attributes(attributes=_named("a\0")), "INVALID_VALUE", "attributes"),
        (_attributes(set_once=_named("a" * 256)), "INVALID_VALUE", "set_once"),
        (_attributes(attributes=_nested(18)), "INVALID_VALUE", "attributes.a"),
        (_attributes(push_tokens=[v1.PushToken(app_id="a")]), "FIELD_REQUIRED", "push_tokens[0].token"),
        (_attributes(time={"seconds": 10**12}), "INVALID_VALUE", "time"),
        (_attributes(time={"nanos": -1}), "INVALID_VALUE", "time"),
        (v1.Event(external_id="u"), "FIELD_REQUIRED", "name"),
        (v1.Event(external_id="u", name="n" * 256), "INVALID_VALUE", "name"),
        (v1.Event(external_id="u", name="n", properties=_named("")), "INVALID_VALUE", "properties"),
        (v1.Event(external_id="u", name="n", update_existing_only=True), "USER_NOT_FOUND", ""),
        (v1.SentMessage(external_id="u"), "FIELD_REQUIRED", "name"),
        (_purchase(currency="EUR", price=1), "FIELD_REQUIRED", "product_id"),
        (_purchase(product_id="p", price=1), "FIELD_REQUIRED", "currency"),
        (_purchase(product_id="p", currency="eur", price=1), "INVALID_VALUE", "currency"),
        (_purchase(product_id="p", currency="XYZ", price=1), "INVALID_VALUE", "currency"),
        (_purchase(product_id="p", currency="EUR"), "FIELD_REQUIRED", "price"),
        (_purchase(product_id="p", currency="EUR", price=float("nan")), "INVALID_VALUE", "price"),
        (_purchase(product_id="p", currency="EUR", price=1, quantity=101), "INVALID_VALUE", "quantity"),
        (_purchase(product_id="p", currency="EUR", price=1, quantity=-1), "INVALID_VALUE", "quantity"),
    ],
)  # fmt: skip
async def test_an_item_that_cannot_be_is_refused_alone_and_puts_nothing(
    wire: Wire, item: Any, reason: str, field: str
) -> None:
    name, sent = GOOD[type(item)]
    good = json_format.ParseDict(sent, type(item)())
    path = field and f"{name}[1].{field}"
    assert await refusals(wire, **{name: [good, item, good]}) == [(name, 1, reason, path)]
    assert await wire.profile_of("u") == ""
    assert await wire.profile_of("ann")


async def test_an_attribute_or_properties_of_a_megabyte_are_refused(wire: Wire) -> None:
    large = Struct()
    large["large"] = "x" * 1_000_000
    found = await refusals(
        wire,
        attributes=[_attributes(attributes=large)],
        events=[v1.Event(external_id="u", name="n", properties=large)],
    )
    assert found == [
        ("attributes", 0, "INVALID_VALUE", "attributes[0].attributes.large"),
        ("events", 0, "INVALID_VALUE", "events[0].properties"),
    ]


async def test_nesting_that_cannot_be_decoded_is_refused_and_nothing_is_done(wire: Wire) -> None:
    body = v1.TrackRequest(events=[v1.Event(external_id="ann", name="n", properties=_nested(30))]).SerializeToString()
    deep = v1.TrackRequest(events=[v1.Event(external_id="ann", name="n")])
    value = deep.events[0].properties.fields["a"]
    for _ in range(100):
        value = value.struct_value.fields["a"]
    value.bool_value = True
    for sent in (deep.SerializeToString(), body[:-3]):
        assert (await wire.refused("Track", sent)).reason == "INVALID_VALUE"
    assert await wire.profile_of("ann") == ""


@pytest.mark.parametrize("name", ["attributes", "events", "purchases", "messages"])
async def test_76_items_are_refused_and_nothing_is_done(wire: Wire, name: str) -> None:
    item = {"attributes": ANN, "events": EVENT, "purchases": PURCHASE, "messages": MESSAGE}[name]
    refusal = await wire.refused(
        "Track", {name: [item] * 76, "attributes": [item] * 76 if name == "attributes" else [ANN]}
    )
    assert (refusal.reason, refusal.field) == ("BATCH_SIZE", name)
    assert await wire.profile_of("ann") == ""


async def test_a_call_without_items_is_refused(wire: Wire) -> None:
    assert (await wire.refused("Track", {})).reason == "BATCH_SIZE"


async def test_75_items_of_each_are_done(wire: Wire) -> None:
    body = {"attributes": [ANN] * 75, "events": [EVENT] * 75, "purchases": [PURCHASE] * 75, "messages": [MESSAGE] * 75}
    assert list((await wire("Track", body)).values()) == [75] * 4
    [found] = await export(wire, "ann")
    assert [len(found[name]) for name in ("events", "purchases", "messages")] == [75, 75, 75]


async def test_a_repeat_by_request_id_adds_nothing_twice(wire: Wire) -> None:
    body = {"events": [EVENT, {"name": "nobody's"}], "request_id": str(uuid.uuid4())}
    first = await wire("Track", body)
    assert await wire("Track", body) == first
    [found] = await export(wire, "ann")
    assert len(found["events"]) == 1
    assert (await wire.refused("Track", body | {"events": [EVENT]})).reason == "REQUEST_ID_REUSED"


async def test_trying_out_puts_nothing(wire: Wire) -> None:
    assert await wire("Track", {"events": [EVENT], "validate_only": True}) == {"events_processed": 1}
    assert await wire.profile_of("ann") == ""


async def test_a_key_needs_its_permission(server: Server, wire: Wire) -> None:
    await wire("Track", {"attributes": [ANN]})
    for method, body, permission in (
        ("Track", {"events": [EVENT]}, "profiles.write"),
        ("ExportProfiles", {"profiles": [{"id": "ann"}]}, "profiles.export"),
    ):
        await wire.with_key(server.add_key(permission))(method, body)
        refusal = await wire.with_key(server.all_but(permission)).refused(method, body)
        assert (refusal.reason, refusal.metadata["permission"]) == ("PERMISSION_MISSING", permission)


async def test_identify_puts_attributes_together_with_the_rest_of_its_item(wire: Wire) -> None:
    item = {**ANN, "anonymous_id": "cookie", "attributes": {"plan": "pro"}, "time": "2026-01-02T00:00:00Z"}
    assert outcomes(await wire("Identify", {"aliases_to_identify": [item]})) == ["CREATED"]
    older = item | {"attributes": {"plan": "old", "new": None, "age": 7}, "time": "2026-01-01T00:00:00Z"}
    assert outcomes(await wire("Identify", {"aliases_to_identify": [older]})) == ["ALREADY_LINKED"]
    [found] = await export(wire, "cookie", fields="attributes")
    assert found["attributes"] == {"plan": "pro", "age": 7}


@pytest.mark.parametrize(
    ("attributes", "time", "field"),
    [
        ({"": 1}, {}, "attributes"),
        ({"large": "x" * 10_000}, {}, "attributes.large"),
        ({"a": 1}, {"seconds": 10**12}, "time"),
    ],
)
async def test_identify_with_attributes_that_cannot_be_does_nothing_of_that_item(
    wire: Wire, attributes: dict[str, Any], time: dict[str, int], field: str
) -> None:
    item = v1.AliasToIdentify(external_id="ann", anonymous_id="cookie", time=Timestamp(**time))
    item.attributes.update(attributes)
    items = [v1.AliasToIdentify(external_id="bob"), item]
    answer = await wire("Identify", v1.IdentifyRequest(aliases_to_identify=items))
    assert item_fields(answer) == [None, f"aliases_to_identify[1].{field}"]
    assert [bool(await wire.profile_of(each)) for each in ("ann", "cookie", "bob")] == [False, False, True]


async def test_identify_with_attributes_needs_the_permission_for_data(server: Server, wire: Wire) -> None:
    by = wire.with_key(server.all_but("profiles.write"))
    items = [{**ANN, "attributes": {"plan": "pro"}}, {"external_id": "bob"}]
    answer = await by("Identify", {"aliases_to_identify": items})
    assert answer["results"][0]["reason"] == "ERROR_REASON_PERMISSION_MISSING"
    assert outcomes(answer)[1] == "CREATED"
    assert await wire.profile_of("ann") == ""


async def test_data_is_never_another_workspaces(server: Server, wire: Wire) -> None:
    await wire("Track", {"attributes": [{**ANN, "attributes": {"a": 1}}]})
    other = wire.with_key(server.add_key("profiles.export", workspace="other"))
    assert await other("ExportProfiles", {"profiles": [{"id": "ann"}]}) == {"not_found": [0]}


async def test_each_item_counts_against_the_rate_limit(tmp_path: Path) -> None:
    async with serving(tmp_path / "aka.db", rate_limit="10/hour") as server, wire_to(server) as wire:
        tracked = await wire.send("Track", {"events": [EVENT] * 3, "attributes": [ANN]})
        assert tracked.trailers["x-ratelimit-remaining"] == "6"
        exported = await wire.send("ExportProfiles", {"profiles": [{"id": "ann"}] * 2})
        assert exported.trailers["x-ratelimit-remaining"] == "4"
