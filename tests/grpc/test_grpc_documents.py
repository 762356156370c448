"""The bodies of the three documents, as JSON, over the wire."""

from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from aka.v1 import alias_service_pb2 as v1
from aka.v1 import alias_service_pb2_grpc as v1_grpc
from tests.grpc.wire import KEY, Server, Wire, outcomes

APPIZER = {"user_id": "user_123", "alias_id": "legacy_999"}
ALTERTABLE = {"user_id": "user_123", "alias_id": "stripe:cus_abc123"}
"""Its `distinct_id` is `user_id` here; its policy is given by the caller."""
BRAZE_NEW = {
    "user_aliases": [
        {"external_id": "user_123", "alias_name": "example_name", "alias_label": "example_label"},
        {"alias_name": "alias_only", "alias_label": "example_label"},
    ]
}
BRAZE_IDENTIFY = {
    "aliases_to_identify": [
        {"external_id": "user_456", "user_alias": {"alias_name": "alias_only", "alias_label": "example_label"}}
    ]
}


async def test_appizers_body_links_an_alias_to_an_existing_user(wire: Wire) -> None:
    (profile_id,) = await wire.identify("user_123")
    assert await wire("Alias", APPIZER) == {
        "user_id": "user_123",
        "alias_id": "legacy_999",
        "profile_id": profile_id,
        "outcome": "OUTCOME_LINKED",
    }


async def test_appizers_body_works_with_the_primary_user_id_instead(wire: Wire) -> None:
    (profile_id,) = await wire.identify("user_123")
    assert await wire("Alias", {"primary_user_id": profile_id, "alias_id": "legacy_999"}) == {
        "user_id": "user_123",
        "alias_id": "legacy_999",
        "profile_id": profile_id,
        "outcome": "OUTCOME_LINKED",
    }


async def test_after_appizers_call_either_id_finds_the_user(wire: Wire) -> None:
    (profile_id,) = await wire.identify("user_123")
    await wire("Alias", APPIZER)
    assert await wire.profile_of("user_123") == await wire.profile_of("legacy_999") == profile_id


async def test_appizers_body_for_a_user_who_does_not_exist_is_not_found(wire: Wire) -> None:
    refusal = await wire.refused("Alias", APPIZER)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")


async def test_altertables_body_makes_the_user_and_links_the_crm_id(wire: Wire) -> None:
    body = ALTERTABLE | {"create_missing": True, "merge_policy": "MERGE_POLICY_ALWAYS"}
    answer = await wire("Alias", body)
    assert (answer["user_id"], answer["outcome"]) == ("user_123", "OUTCOME_CREATED")
    assert await wire.profile_of("stripe:cus_abc123") == answer["profile_id"]


async def test_altertables_body_joins_two_users_who_exist(wire: Wire) -> None:
    user, other = await wire.identify("user_123", "stripe:cus_abc123")
    assert await wire("Alias", ALTERTABLE | {"merge_policy": "MERGE_POLICY_ALWAYS"}) == {
        "user_id": "user_123",
        "alias_id": "stripe:cus_abc123",
        "profile_id": user,
        "outcome": "OUTCOME_MERGED",
        "merged_profile_id": other,
    }


async def test_brazes_new_alias_body_adds_to_a_user_and_makes_an_alias_only_user(wire: Wire) -> None:
    (user,) = await wire.identify("user_123")
    answer = await wire("CreateAliases", BRAZE_NEW)
    alias_only = answer["results"][1]["profile_id"]
    assert alias_only != user
    assert answer == {
        "aliases_processed": 2,
        "results": [
            {"outcome": "OUTCOME_LINKED", "profile_id": user, "user_id": "user_123"},
            {"index": 1, "outcome": "OUTCOME_CREATED", "profile_id": alias_only},
        ],
    }


async def test_brazes_new_alias_body_with_an_unknown_external_id_fails_that_item_alone(wire: Wire) -> None:
    answer = await wire("CreateAliases", BRAZE_NEW)
    assert (answer["aliases_processed"], outcomes(answer)) == (1, ["USER_NOT_FOUND", "CREATED"])


async def test_brazes_identify_body_gives_an_alias_only_user_its_external_id(wire: Wire) -> None:
    alias_only = (await wire("CreateAliases", BRAZE_NEW))["results"][1]["profile_id"]
    assert await wire("Identify", BRAZE_IDENTIFY) == {
        "aliases_processed": 1,
        "results": [{"outcome": "OUTCOME_IDENTIFIED", "profile_id": alias_only, "user_id": "user_456"}],
    }


async def test_brazes_identify_body_joins_the_alias_to_a_user_who_exists(wire: Wire) -> None:
    alias_only = (await wire("CreateAliases", BRAZE_NEW))["results"][1]["profile_id"]
    (user,) = await wire.identify("user_456")
    assert (await wire("Identify", BRAZE_IDENTIFY))["results"] == [
        {"outcome": "OUTCOME_MERGED", "profile_id": user, "merged_profile_id": alias_only, "user_id": "user_456"}
    ]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("Alias", APPIZER | {"create_missing": True}),
        ("Alias", ALTERTABLE | {"create_missing": True, "merge_policy": "MERGE_POLICY_ALWAYS"}),
        ("CreateAliases", BRAZE_NEW),
        ("Identify", {"aliases_to_identify": [{"external_id": "user_456"}]}),
    ],
    ids=["Appizer", "Altertable", "Braze, new", "Braze, identify"],
)
async def test_each_documents_body_may_be_repeated(wire: Wire, method: str, body: dict[str, Any]) -> None:
    await wire.identify("user_123")
    first = await wire(method, body)
    second = await wire(method, body)
    assert str(second).replace("ALREADY_LINKED", "") == str(first).replace("CREATED", "").replace("LINKED", "")


async def test_brazes_api_key_is_no_field_of_the_message() -> None:
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict({"api_key": "secret", **BRAZE_NEW}, v1.CreateAliasesRequest())


async def test_the_generated_stub_calls_the_same_service(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = v1_grpc.AliasServiceStub(channel)
        request = v1.AliasRequest(user_id="user_123", alias_id="legacy_999", create_missing=True)
        response = await stub.Alias(request, metadata=(("authorization", f"Bearer {KEY}"),))
    assert response.outcome == v1.OUTCOME_CREATED
