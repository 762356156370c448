"""Identify over the wire: the cells of its table, every field of the answer, its refusals."""

from typing import Any

import pytest

from tests.grpc.wire import Server, Wire, item_fields, outcomes

PAIR = {"alias_label": "crm", "alias_name": "1"}


async def identify(wire: Wire, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await wire("Identify", {"aliases_to_identify": list(items)} | more)


async def make_pair(wire: Wire, name: str = "1", **more: str) -> str:
    item = {"alias_label": "crm", "alias_name": name} | more
    return str((await wire("CreateAliases", {"user_aliases": [item]}))["results"][0]["profile_id"])


async def test_an_external_id_alone_is_made_known(wire: Wire) -> None:
    answer = await identify(wire, {"external_id": "u"})
    assert answer == {
        "aliases_processed": 1,
        "results": [{"outcome": "OUTCOME_CREATED", "profile_id": await wire.profile_of("u"), "user_id": "u"}],
    }


async def test_a_known_external_id_alone_is_already_linked(wire: Wire) -> None:
    await wire.identify("u")
    assert outcomes(await identify(wire, {"external_id": "u"})) == ["ALREADY_LINKED"]


async def test_an_alias_as_external_id_answers_with_the_primary_id(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    assert (await identify(wire, {"external_id": "a"}))["results"] == [
        {"outcome": "OUTCOME_ALREADY_LINKED", "profile_id": user, "user_id": "u"}
    ]


async def test_an_anonymous_profiles_own_id_becomes_its_primary_id(wire: Wire) -> None:
    (profile,) = await wire.anonymous("anon")
    assert (await identify(wire, {"external_id": "anon"}))["results"] == [
        {"outcome": "OUTCOME_IDENTIFIED", "profile_id": profile, "user_id": "anon"}
    ]


async def test_both_ids_are_made_where_neither_is_known(wire: Wire) -> None:
    answer = await identify(wire, {"external_id": "u", "anonymous_id": "anon"})
    assert outcomes(answer) == ["CREATED"]
    assert await wire.profile_of("u") == await wire.profile_of("anon") == answer["results"][0]["profile_id"]


async def test_a_new_anonymous_id_is_linked_to_a_known_user(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    assert (await identify(wire, {"external_id": "u", "anonymous_id": "anon"}))["results"] == [
        {"outcome": "OUTCOME_LINKED", "profile_id": user, "user_id": "u"}
    ]


async def test_an_anonymous_profile_gets_the_external_id_and_keeps_its_profile_id(wire: Wire) -> None:
    profile = await make_pair(wire)
    assert (await identify(wire, {"external_id": "u", "user_alias": PAIR}))["results"] == [
        {"outcome": "OUTCOME_IDENTIFIED", "profile_id": profile, "user_id": "u"}
    ]


@pytest.mark.parametrize("behavior", ["MERGE_BEHAVIOR_NONE", "MERGE_BEHAVIOR_MERGE", "MERGE_BEHAVIOR_UNSPECIFIED"])
async def test_an_anonymous_profile_is_merged_into_a_known_users(wire: Wire, behavior: str) -> None:
    (user,) = await wire.identify("u")
    profile = await make_pair(wire)
    answer = await identify(wire, {"external_id": "u", "user_alias": PAIR}, merge_behavior=behavior)
    assert answer["results"] == [
        {"outcome": "OUTCOME_MERGED", "profile_id": user, "merged_profile_id": profile, "user_id": "u"}
    ]


@pytest.mark.parametrize(
    ("behavior", "orphaned"),
    [("MERGE_BEHAVIOR_UNSPECIFIED", 1), ("MERGE_BEHAVIOR_NONE", 1), ("MERGE_BEHAVIOR_MERGE", 0)],
)
async def test_data_follow_a_user_alias_as_the_merge_behavior_says(
    server: Server, wire: Wire, behavior: str, orphaned: int
) -> None:
    await wire.identify("u")
    await make_pair(wire)
    await identify(wire, {"external_id": "u", "user_alias": PAIR}, merge_behavior=behavior)
    assert server.rows("SELECT orphaned FROM profiles WHERE parent IS NOT NULL") == [(orphaned,)]


async def test_data_follow_an_anonymous_id_whatever_the_merge_behavior_says(server: Server, wire: Wire) -> None:
    await wire.identify("u")
    await wire.anonymous("anon")
    await identify(wire, {"external_id": "u", "anonymous_id": "anon"}, merge_behavior="MERGE_BEHAVIOR_NONE")
    assert server.rows("SELECT orphaned FROM profiles WHERE parent IS NOT NULL") == [(0,)]


async def test_of_two_anonymous_profiles_the_external_ids_survives_identified(wire: Wire) -> None:
    own, other = await wire.anonymous("anon", "other")
    assert (await identify(wire, {"external_id": "anon", "anonymous_id": "other"}))["results"] == [
        {"outcome": "OUTCOME_MERGED", "profile_id": own, "merged_profile_id": other, "user_id": "anon"}
    ]


@pytest.mark.parametrize(
    ("item", "reason", "field"),
    [
        ({}, "FIELD_REQUIRED", "external_id"),
        ({"user_alias": PAIR}, "FIELD_REQUIRED", "external_id"),
        ({"external_id": "u", "user_alias": {}}, "FIELD_REQUIRED", "user_alias.alias_name"),
        ({"external_id": "u", "user_alias": {"alias_name": "1"}}, "FIELD_REQUIRED", "user_alias.alias_label"),
        ({"external_id": "u", "anonymous_id": ""}, "FIELD_REQUIRED", "anonymous_id"),
        ({"external_id": "u", "anonymous_id": "u"}, "SELF_ALIAS", "anonymous_id"),
        ({"external_id": "null"}, "RESERVED_IDENTIFIER", "external_id"),
        ({"external_id": "u", "anonymous_id": "null"}, "RESERVED_IDENTIFIER", "anonymous_id"),
        (
            {"external_id": "u", "user_alias": {"alias_label": "crm", "alias_name": "9"}},
            "ALIAS_NOT_FOUND",
            None,
        ),
        ({"external_id": "u", "user_alias": PAIR}, "ALREADY_IDENTIFIED", None),
        ({"external_id": "new", "user_alias": PAIR}, "ALREADY_IDENTIFIED", None),
        ({"external_id": "u", "anonymous_id": "v"}, "ALREADY_IDENTIFIED", None),
    ],
)
async def test_an_item_that_cannot_be_is_refused_by_itself(
    wire: Wire, item: dict[str, Any], reason: str, field: str | None
) -> None:
    await wire.identify("u", "v")
    await make_pair(wire, external_id="v")
    answer = await identify(wire, {"external_id": "ok"}, item)
    assert (answer["aliases_processed"], outcomes(answer)) == (1, ["CREATED", reason])
    assert item_fields(answer) == [None, None if field is None else f"aliases_to_identify[1].{field}"]


async def test_profiles_that_share_a_label_are_not_joined(wire: Wire) -> None:
    await wire.identify("u")
    await make_pair(wire, "mine", external_id="u")
    await make_pair(wire)
    assert outcomes(await identify(wire, {"external_id": "u", "user_alias": PAIR})) == ["LABEL_TAKEN"]


async def test_nobody_is_made_for_an_unknown_pair(wire: Wire) -> None:
    assert outcomes(await identify(wire, {"external_id": "u", "user_alias": PAIR})) == ["ALIAS_NOT_FOUND"]
    assert await wire.profile_of("u") == ""


async def test_an_unknown_merge_behavior_fails_the_call(wire: Wire) -> None:
    body = {"aliases_to_identify": [{"external_id": "u"}], "merge_behavior": 9}
    refusal = await wire.refused("Identify", body)
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "merge_behavior")
