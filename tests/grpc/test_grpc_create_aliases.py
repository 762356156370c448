"""CreateAliases over the wire: what an item may be, every field of the answer, its refusals."""

from typing import Any

import pytest

from tests.grpc.wire import Wire, item_fields, outcomes


def pair(label: str, name: str, **more: str) -> dict[str, str]:
    return {"alias_label": label, "alias_name": name} | more


async def create(wire: Wire, *items: dict[str, str], **more: Any) -> dict[str, Any]:
    return await wire("CreateAliases", {"user_aliases": list(items)} | more)


async def test_a_pair_alone_makes_an_anonymous_profile(wire: Wire) -> None:
    answer = await create(wire, pair("crm", "1"))
    (result,) = answer["results"]
    assert answer["aliases_processed"] == 1
    assert result == {"outcome": "OUTCOME_CREATED", "profile_id": result["profile_id"]}


async def test_an_anonymous_id_alone_makes_an_anonymous_profile(wire: Wire) -> None:
    (result,) = (await create(wire, {"anonymous_id": "anon"}))["results"]
    assert result == {"outcome": "OUTCOME_CREATED", "profile_id": await wire.profile_of("anon")}


async def test_a_pair_that_exists_is_already_linked_wherever_it_is(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    await create(wire, pair("crm", "1", external_id="u"))
    assert (await create(wire, pair("crm", "1")))["results"] == [
        {"outcome": "OUTCOME_ALREADY_LINKED", "profile_id": user, "user_id": "u"}
    ]


async def test_a_later_item_sees_what_an_earlier_one_made(wire: Wire) -> None:
    answer = await create(wire, pair("crm", "1"), pair("crm", "1"))
    assert outcomes(answer) == ["CREATED", "ALREADY_LINKED"]
    assert answer["results"][0]["profile_id"] == answer["results"][1]["profile_id"]


async def test_any_id_of_a_profile_serves_as_the_external_id(wire: Wire) -> None:
    (user,) = await wire.anonymous("anon")
    answer = await create(wire, pair("crm", "1", external_id="anon"), {"anonymous_id": "b", "external_id": "anon"})
    assert answer["results"] == [
        {"outcome": "OUTCOME_LINKED", "profile_id": user},
        {"index": 1, "outcome": "OUTCOME_LINKED", "profile_id": user},
    ]


@pytest.mark.parametrize(
    ("item", "reason", "field"),
    [
        ({}, "FIELD_REQUIRED", "alias_name"),
        ({"alias_label": "crm"}, "FIELD_REQUIRED", "alias_name"),
        ({"alias_name": "1"}, "FIELD_REQUIRED", "alias_label"),
        (pair("crm", "1", external_id=""), "FIELD_REQUIRED", "external_id"),
        (pair("crm", "1", anonymous_id="a"), "INVALID_VALUE", "anonymous_id"),
        ({"alias_name": "1", "anonymous_id": "a"}, "INVALID_VALUE", "anonymous_id"),
        ({"external_id": "u", "anonymous_id": "u"}, "SELF_ALIAS", "anonymous_id"),
        ({"anonymous_id": "undefined"}, "RESERVED_IDENTIFIER", "anonymous_id"),
        ({"anonymous_id": "undefined", "external_id": "u"}, "RESERVED_IDENTIFIER", "anonymous_id"),
        (pair("crm", "1", external_id="nobody"), "USER_NOT_FOUND", None),
        (pair("crm", "1", external_id="v"), "ALIAS_TAKEN", None),
        ({"anonymous_id": "u", "external_id": "v"}, "ALIAS_TAKEN", None),
        (pair("crm", "2", external_id="u"), "LABEL_TAKEN", None),
    ],
)
async def test_an_item_that_cannot_be_is_refused_by_itself(
    wire: Wire, item: dict[str, str], reason: str, field: str | None
) -> None:
    await wire.identify("u", "v")
    await create(wire, pair("crm", "1", external_id="u"))
    answer = await create(wire, pair("other", "0"), item)
    assert (answer["aliases_processed"], outcomes(answer)) == (1, ["CREATED", reason])
    assert item_fields(answer) == [None, None if field is None else f"user_aliases[1].{field}"]


async def test_an_item_seven_has_its_place_in_its_path(wire: Wire) -> None:
    items = [pair("crm", str(number)) for number in range(7)]
    answer = await create(wire, *items, {"alias_name": "7"})
    assert item_fields(answer)[7] == "user_aliases[7].alias_label"


async def test_a_taken_pair_names_both_profiles(wire: Wire) -> None:
    user, other = await wire.identify("u", "v")
    await create(wire, pair("crm", "1", external_id="v"))
    answer = await create(wire, pair("crm", "1", external_id="u"))
    (info,) = answer["results"][0]["error"]["details"]
    assert info["metadata"] == {"user_profile_id": user, "alias_profile_id": other}


async def test_a_label_and_a_name_may_be_words_that_are_reserved_as_ids(wire: Wire) -> None:
    assert outcomes(await create(wire, pair("null", "undefined"))) == ["CREATED"]


async def test_a_pair_and_an_id_of_the_same_text_are_two_things(wire: Wire) -> None:
    (user,) = await wire.identify("same")
    answer = await create(wire, pair("same", "same"))
    assert answer["results"][0]["profile_id"] != user
