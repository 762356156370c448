"""Resolve and GetProfile over the wire: every field of their answers, redirects, pages and page tokens."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.grpc.wire import UNKNOWN_UUID, Server, Wire, serving, wire_to

PAIR = {"alias_label": "crm", "alias_name": "1"}


async def resolve(wire: Wire, *identifiers: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    resolutions: list[dict[str, Any]] = (await wire("Resolve", {"identifiers": list(identifiers)} | more))[
        "resolutions"
    ]
    return resolutions


async def profile_of(wire: Wire, identifier: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await wire("GetProfile", {"identifier": identifier} | more)


async def ids_of(wire: Wire, identifier: dict[str, Any], **more: Any) -> tuple[list[str], str]:
    """Return the ids on a page of a profile, and the next page's token."""
    answer = await profile_of(wire, identifier, **more)
    linked = answer["profile"].get("identifiers", [])
    return [item["identifier"]["id"] for item in linked], answer.get("next_page_token", "")


async def merged(wire: Wire) -> tuple[str, str]:
    """Make an identified profile `u` with a tombstone that had `anon`; return both profile ids."""
    (user,) = await wire.identify("u")
    (tombstone,) = await wire.anonymous("anon")
    await wire("Alias", {"user_id": "u", "alias_id": "anon"})
    return user, tombstone


async def with_ids(wire: Wire, count: int) -> list[str]:
    """Make a profile `u` with so many ids in all, and return them in order."""
    await wire.identify("u")
    ids = [f"id-{number:04}" for number in range(count - 1)]
    for start in range(0, len(ids), 100):
        requests = [{"user_id": "u", "alias_id": id_} for id_ in ids[start : start + 100]]
        await wire("BatchAlias", {"requests": requests})
    return [*ids, "u"]


async def test_resolve_answers_every_identifier_in_order(wire: Wire) -> None:
    user, tombstone = await merged(wire)
    await wire("CreateAliases", {"user_aliases": [PAIR | {"external_id": "u"}]})
    (other,) = await wire.anonymous("b")
    found = {"found": True, "profile_id": user, "user_id": "u", "identified": True}
    assert await resolve(
        wire,
        {"id": "u"},
        {"id": "anon"},
        {"user_alias": PAIR},
        {"id": "nobody"},
        {"profile_id": user},
        {"profile_id": tombstone},
        {"id": "b"},
        {"profile_id": UNKNOWN_UUID},
        {"id": "u"},
    ) == [
        found,
        found,
        found,
        {},
        found,
        found | {"redirected_from": tombstone},
        {"found": True, "profile_id": other},
        {},
        found,
    ]


async def test_resolve_takes_reserved_values_which_are_merely_nobodys(wire: Wire) -> None:
    assert await resolve(wire, {"id": "null"}) == [{}]


@pytest.mark.parametrize("consistency", ["CONSISTENCY_STRONG", "CONSISTENCY_EVENTUAL"])
async def test_resolve_answers_under_either_consistency(wire: Wire, consistency: str) -> None:
    (user,) = await wire.identify("u")
    assert (await resolve(wire, {"id": "u"}, consistency=consistency))[0]["profile_id"] == user


@pytest.mark.parametrize(
    ("identifier", "reason", "field"),
    [
        ({}, "FIELD_REQUIRED", "id"),
        ({"id": ""}, "FIELD_REQUIRED", "id"),
        ({"id": "a\nb"}, "INVALID_VALUE", "id"),
        ({"user_alias": {}}, "FIELD_REQUIRED", "user_alias.alias_name"),
        ({"user_alias": {"alias_name": "1"}}, "FIELD_REQUIRED", "user_alias.alias_label"),
        ({"profile_id": ""}, "FIELD_REQUIRED", "profile_id"),
        ({"profile_id": "u"}, "INVALID_VALUE", "profile_id"),
    ],
)
async def test_one_malformed_identifier_fails_a_read_with_its_path(
    wire: Wire, identifier: dict[str, Any], reason: str, field: str
) -> None:
    refusal = await wire.refused("Resolve", {"identifiers": [{"id": "u"}, identifier]})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert refusal.field == f"identifiers[1].{field}"
    refusal = await wire.refused("GetProfile", {"identifier": identifier})
    assert (refusal.reason, refusal.field) == (reason, f"identifier.{field}")


async def test_a_get_profile_without_any_identifier_names_its_path(wire: Wire) -> None:
    refusal = await wire.refused("GetProfile", {})
    assert (refusal.reason, refusal.field) == ("FIELD_REQUIRED", "identifier.id")


@pytest.mark.parametrize("method", ["Resolve", "GetProfile"])
async def test_an_unknown_consistency_is_refused(wire: Wire, method: str) -> None:
    await wire.identify("u")
    body = {"identifiers": [{"id": "u"}]} if method == "Resolve" else {"identifier": {"id": "u"}}
    refusal = await wire.refused(method, body | {"consistency": 3})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "consistency")


async def test_a_profile_has_all_that_the_contract_says(wire: Wire) -> None:
    user, tombstone = await merged(wire)
    await wire("Alias", {"user_id": "u", "alias_id": "z"})
    await wire("CreateAliases", {"user_aliases": [PAIR | {"external_id": "u"}]})
    answer = await profile_of(wire, {"id": "z"})
    profile = answer["profile"]
    linked = [
        (item["identifier"], item["kind"].removeprefix("IDENTIFIER_KIND_")) for item in profile.pop("identifiers")
    ]
    assert linked == [
        ({"id": "anon"}, "ANONYMOUS"),
        ({"id": "u"}, "PRIMARY"),
        ({"id": "z"}, "ALIAS"),
        ({"user_alias": PAIR}, "USER_ALIAS"),
    ]
    assert profile.pop("created_at") <= profile.pop("updated_at")
    assert answer == {
        "profile": {
            "profile_id": user,
            "user_id": "u",
            "identified": True,
            "merged_profile_ids": [tombstone],
            "merged_profile_count": 1,
            "identifier_count": 4,
        }
    }


async def test_every_identifier_of_a_profile_says_when_it_was_linked(wire: Wire) -> None:
    await wire.identify("u")
    await wire("Alias", {"user_id": "u", "alias_id": "a"})
    profile = (await profile_of(wire, {"id": "u"}))["profile"]
    alias, primary = profile["identifiers"]
    assert profile["created_at"] == primary["linked_at"] <= alias["linked_at"] == profile["updated_at"]


async def test_times_are_told_to_the_microsecond(server: Server, wire: Wire) -> None:
    await wire.identify("u")
    server.rows("UPDATE profiles SET created_at = 1700000000000007, updated_at = 1700000000123456")
    profile = (await profile_of(wire, {"id": "u"}))["profile"]
    server.rows("UPDATE profiles SET (created_at, updated_at) = (SELECT linked_at, linked_at FROM identifiers)")
    assert profile["created_at"] == "2023-11-14T22:13:20.000007Z"
    assert profile["updated_at"] == "2023-11-14T22:13:20.123456Z"


async def test_an_anonymous_profile_has_no_user_id(wire: Wire) -> None:
    (profile_id,) = await wire.anonymous("anon")
    profile = (await profile_of(wire, {"id": "anon"}))["profile"]
    assert (profile["profile_id"], "user_id" in profile, "identified" in profile) == (profile_id, False, False)


async def test_an_anonymous_id_that_becomes_the_primary_id_is_one(wire: Wire) -> None:
    await wire.anonymous("anon")
    await wire.identify("anon")
    (linked,) = (await profile_of(wire, {"id": "anon"}))["profile"]["identifiers"]
    assert linked["kind"] == "IDENTIFIER_KIND_PRIMARY"


async def test_a_merged_profiles_primary_id_becomes_an_alias(wire: Wire) -> None:
    await wire.identify("u", "v")
    await wire("Alias", {"user_id": "u", "alias_id": "v", "merge_policy": "MERGE_POLICY_ALWAYS"})
    linked = (await profile_of(wire, {"id": "u"}))["profile"]["identifiers"]
    assert [item["kind"] for item in linked] == ["IDENTIFIER_KIND_PRIMARY", "IDENTIFIER_KIND_ALIAS"]


async def test_a_tombstones_profile_id_is_redirected(wire: Wire) -> None:
    user, tombstone = await merged(wire)
    answer = await profile_of(wire, {"profile_id": tombstone})
    assert (answer["redirected_from"], answer["profile"]["profile_id"]) == (tombstone, user)


async def test_a_tombstones_former_identifier_is_not_redirected(wire: Wire) -> None:
    await merged(wire)
    assert "redirected_from" not in await profile_of(wire, {"id": "anon"})


@pytest.mark.parametrize(
    "identifier", [{"id": "nobody"}, {"user_alias": PAIR}, {"profile_id": UNKNOWN_UUID}], ids=["id", "pair", "uuid"]
)
async def test_the_profile_of_nobodys_identifier_is_not_found(wire: Wire, identifier: dict[str, Any]) -> None:
    refusal = await wire.refused("GetProfile", {"identifier": identifier})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "PROFILE_NOT_FOUND")


async def test_pages_have_every_identifier_once_and_in_order(wire: Wire) -> None:
    ids = await with_ids(wire, 7)
    seen, token = await ids_of(wire, {"id": "u"}, page_size=3)
    while token:
        assert len(seen) % 3 == 0
        page, token = await ids_of(wire, {"id": "u"}, page_size=3, page_token=token)
        seen += page
    assert seen == ids


async def test_a_page_that_ends_with_the_last_identifier_has_no_token(wire: Wire) -> None:
    ids = await with_ids(wire, 4)
    assert await ids_of(wire, {"id": "u"}, page_size=4) == (ids, "")


async def test_every_page_has_the_whole_profiles_counts(wire: Wire) -> None:
    await with_ids(wire, 3)
    answer = await profile_of(wire, {"id": "u"}, page_size=1)
    assert (len(answer["profile"]["identifiers"]), answer["profile"]["identifier_count"]) == (1, 3)


async def test_page_size_0_means_100(wire: Wire) -> None:
    ids = await with_ids(wire, 102)
    page, token = await ids_of(wire, {"id": "u"})
    assert page == ids[:100]
    assert await ids_of(wire, {"id": "u"}, page_token=token) == (ids[100:], "")


@pytest.mark.parametrize("page_size", [1001, 2_147_483_647])
async def test_a_page_size_above_1000_means_1000(tmp_path: Path, page_size: int) -> None:
    async with serving(tmp_path / "aka.db", max_identifiers=1001) as server, wire_to(server) as wire:
        ids = await with_ids(wire, 1001)
        page, token = await ids_of(wire, {"id": "u"}, page_size=page_size)
        assert page == ids[:1000]
        assert await ids_of(wire, {"id": "u"}, page_token=token) == (ids[1000:], "")


async def test_a_negative_page_size_is_refused(wire: Wire) -> None:
    await wire.identify("u")
    refusal = await wire.refused("GetProfile", {"identifier": {"id": "u"}, "page_size": -1})
    assert (refusal.code, refusal.reason, refusal.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_VALUE",
        "page_size",
    )
    assert refusal.metadata == {"field": "page_size", "value": "-1"}


@pytest.mark.parametrize(
    "token", ["x", "=", "AAAA", "\u00e9\u00e8", "AAAAAAAAAAAAAAAAAAAA", "W10", "////", "a b", "AAAAAAAAAAAi\n"]
)
async def test_a_page_token_that_is_none_of_akas_is_refused(wire: Wire, token: str) -> None:
    await wire.identify("u")
    refusal = await wire.refused("GetProfile", {"identifier": {"id": "u"}, "page_token": token})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "page_token")


async def test_a_page_token_of_another_call_is_refused(wire: Wire) -> None:
    await with_ids(wire, 3)
    _, token = await ids_of(wire, {"id": "u"}, page_size=1)
    refusal = await wire.refused("GetProfile", {"identifier": {"id": "id-0000"}, "page_token": token})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "page_token")


async def test_a_page_token_that_was_cut_short_is_refused(wire: Wire) -> None:
    await with_ids(wire, 3)
    _, token = await ids_of(wire, {"id": "u"}, page_size=1)
    refusal = await wire.refused("GetProfile", {"identifier": {"id": "u"}, "page_token": token[:-4]})
    assert (refusal.reason, refusal.field) == ("INVALID_VALUE", "page_token")


async def test_a_page_token_goes_on_where_the_identifier_it_ended_with_was_unlinked(wire: Wire) -> None:
    ids = await with_ids(wire, 4)
    page, token = await ids_of(wire, {"id": "u"}, page_size=2)
    await wire("DeleteAlias", {"id": page[-1]})
    assert await ids_of(wire, {"id": "u"}, page_token=token) == (ids[2:], "")


async def test_of_many_tombstones_the_newest_hundred_are_named_newest_first(wire: Wire) -> None:
    names = [f"anon-{number}" for number in range(101)]
    profile_ids = []
    for start in range(0, len(names), 50):
        profile_ids += await wire.anonymous(*names[start : start + 50])
    await wire.identify("u")
    for start in range(0, len(names), 100):
        requests = [{"user_id": "u", "alias_id": name} for name in names[start : start + 100]]
        await wire("BatchAlias", {"requests": requests})
    profile = (await profile_of(wire, {"id": "u"}))["profile"]
    assert profile["merged_profile_ids"] == profile_ids[:0:-1]
    assert profile["merged_profile_count"] == 101
