"""DeleteAlias over the wire."""

from typing import Any

import pytest

from tests.grpc.wire import UNKNOWN_UUID, Wire

PAIR = {"alias_label": "crm", "alias_name": "1"}


async def test_an_unlinked_id_is_free_again(wire: Wire) -> None:
    user, other = await wire.identify("u", "v")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    assert await wire("DeleteAlias", {"id": "a"}) == {"profile_id": user}
    assert (await wire("Alias", {"user_id": "v", "alias_id": "a"}))["profile_id"] == other


async def test_an_unlinked_pair_frees_its_label(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    await wire("CreateAliases", {"user_aliases": [PAIR | {"external_id": "u"}]})
    assert await wire("DeleteAlias", {"user_alias": PAIR}) == {"profile_id": user}
    again = {"alias_label": "crm", "alias_name": "2", "external_id": "u"}
    assert (await wire("CreateAliases", {"user_aliases": [again]}))["aliases_processed"] == 1


async def test_an_alias_on_the_given_profile_is_unlinked(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    assert await wire("DeleteAlias", {"id": "a", "profile_id": user.upper()}) == {"profile_id": user}


async def test_a_tombstone_counts_as_its_survivor(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    (tombstone,) = await wire.anonymous("anon")
    await wire("Alias", {"user_id": "u", "alias_id": "anon"})
    assert await wire("DeleteAlias", {"id": "anon", "profile_id": tombstone}) == {"profile_id": user}


async def test_nobodys_identifier_is_as_good_as_unlinked_with_allow_missing(wire: Wire) -> None:
    assert await wire("DeleteAlias", {"id": "nobody", "allow_missing": True}) == {}


@pytest.mark.parametrize(
    ("body", "code", "reason", "field"),
    [
        ({}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "id"),
        ({"id": ""}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "id"),
        ({"user_alias": {"alias_label": "crm"}}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "user_alias.alias_name"),
        ({"user_alias": {"alias_name": "1"}}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "user_alias.alias_label"),
        ({"id": "u", "profile_id": "no-uuid"}, "INVALID_ARGUMENT", "INVALID_VALUE", "profile_id"),
        ({"id": "u", "request_id": "no-uuid"}, "INVALID_ARGUMENT", "INVALID_VALUE", "request_id"),
        ({"id": "nobody"}, "NOT_FOUND", "ALIAS_NOT_FOUND", None),
        ({"user_alias": {"alias_label": "crm", "alias_name": "9"}}, "NOT_FOUND", "ALIAS_NOT_FOUND", None),
        ({"id": "null"}, "NOT_FOUND", "ALIAS_NOT_FOUND", None),
        ({"id": "u"}, "FAILED_PRECONDITION", "PRIMARY_IDENTIFIER", None),
        ({"id": "only"}, "FAILED_PRECONDITION", "LAST_IDENTIFIER", None),
        ({"id": "u", "profile_id": UNKNOWN_UUID}, "FAILED_PRECONDITION", "NOT_ON_PROFILE", None),
    ],
)
async def test_delete_alias_refuses_what_cannot_be(
    wire: Wire, body: dict[str, Any], code: str, reason: str, field: str | None
) -> None:
    await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    await wire.anonymous("only")
    refusal = await wire.refused("DeleteAlias", body)
    assert (refusal.code.name, refusal.reason, refusal.field) == (code, reason, field)


async def test_an_alias_of_another_profile_names_both(wire: Wire) -> None:
    user, other = await wire.identify("u", "v")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    refusal = await wire.refused("DeleteAlias", {"id": "a", "profile_id": other})
    assert refusal.metadata == {"profile_id": other, "alias_profile_id": user}


async def test_a_merged_away_profiles_former_primary_id_may_go(wire: Wire) -> None:
    user, _ = await wire.identify("u", "v")
    await wire("Alias", {"user_id": "u", "alias_id": "v", "merge_policy": "MERGE_POLICY_ALWAYS"})
    assert await wire("DeleteAlias", {"id": "v"}) == {"profile_id": user}
