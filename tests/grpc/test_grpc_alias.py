"""Alias and BatchAlias over the wire: the rows of their table, every field of their answers, their refusals."""

from typing import Any

import grpc
import pytest

from tests.grpc.wire import UNKNOWN_UUID, Wire, item_fields, outcomes

ALWAYS = {"merge_policy": "MERGE_POLICY_ALWAYS"}
NEVER = {"merge_policy": "MERGE_POLICY_NEVER"}


def body(user_id: str, alias_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "alias_id": alias_id} | more


async def test_a_free_alias_is_linked_to_a_known_user(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    assert await wire("Alias", body("u", "a")) == {
        "user_id": "u",
        "alias_id": "a",
        "profile_id": user,
        "outcome": "OUTCOME_LINKED",
    }


async def test_an_alias_of_a_user_serves_as_the_user_id(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    await wire("Alias", body("u", "a"))
    answer = await wire("Alias", body("a", "b"))
    assert (answer["user_id"], answer["profile_id"], answer["alias_id"]) == ("u", user, "b")


async def test_an_anonymous_user_has_no_user_id_in_the_answer(wire: Wire) -> None:
    (user,) = await wire.anonymous("anon")
    assert await wire("Alias", body("anon", "a")) == {
        "alias_id": "a",
        "profile_id": user,
        "outcome": "OUTCOME_LINKED",
    }


async def test_an_unknown_user_is_made_where_create_missing_says_so(wire: Wire) -> None:
    answer = await wire("Alias", body("u", "a", create_missing=True))
    assert answer == {
        "user_id": "u",
        "alias_id": "a",
        "profile_id": await wire.profile_of("u"),
        "outcome": "OUTCOME_CREATED",
    }


async def test_two_ids_of_one_profile_are_already_linked(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    await wire("Alias", body("u", "a"))
    assert await wire("Alias", body("u", "a")) == {
        "user_id": "u",
        "alias_id": "a",
        "profile_id": user,
        "outcome": "OUTCOME_ALREADY_LINKED",
    }


async def test_a_circle_is_already_linked(wire: Wire) -> None:
    await wire.identify("u")
    await wire("Alias", body("u", "a"))
    await wire("Alias", body("a", "b"))
    assert (await wire("Alias", body("b", "u")))["outcome"] == "OUTCOME_ALREADY_LINKED"


async def test_an_anonymous_profile_takes_the_unknown_user_as_its_primary_id(wire: Wire) -> None:
    (profile,) = await wire.anonymous("anon")
    assert await wire("Alias", body("u", "anon", create_missing=True)) == {
        "user_id": "u",
        "alias_id": "anon",
        "profile_id": profile,
        "outcome": "OUTCOME_IDENTIFIED",
    }


async def test_an_unknown_user_joins_an_identified_profile_under_always(wire: Wire) -> None:
    (profile,) = await wire.identify("a")
    assert await wire("Alias", body("u", "a", create_missing=True) | ALWAYS) == {
        "user_id": "a",
        "alias_id": "a",
        "profile_id": profile,
        "outcome": "OUTCOME_LINKED",
    }


async def test_an_anonymous_profile_is_merged_into_an_identified_one(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    (other,) = await wire.anonymous("anon")
    assert await wire("Alias", body("u", "anon")) == {
        "user_id": "u",
        "alias_id": "anon",
        "profile_id": user,
        "outcome": "OUTCOME_MERGED",
        "merged_profile_id": other,
    }


async def test_the_identified_profile_survives_on_whichever_side_it_is(wire: Wire) -> None:
    (user,) = await wire.anonymous("anon")
    (other,) = await wire.identify("u")
    answer = await wire("Alias", body("anon", "u"))
    assert (answer["profile_id"], answer["merged_profile_id"], answer["user_id"]) == (other, user, "u")


async def test_a_tombstones_profile_id_means_its_survivor(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    (tombstone,) = await wire.anonymous("anon")
    await wire("Alias", body("u", "anon"))
    answer = await wire("Alias", {"primary_user_id": tombstone, "alias_id": "a"})
    assert (answer["profile_id"], answer["user_id"], answer["outcome"]) == (user, "u", "OUTCOME_LINKED")


async def test_a_profile_id_may_be_in_upper_case_and_comes_back_in_lower(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    assert (await wire("Alias", {"primary_user_id": user.upper(), "alias_id": "a"}))["profile_id"] == user


async def test_an_id_that_looks_like_a_profile_id_is_still_an_id(wire: Wire) -> None:
    (user,) = await wire.identify("u")
    refusal = await wire.refused("Alias", body(user, "a"))
    assert refusal.reason == "USER_NOT_FOUND"


@pytest.mark.parametrize(
    ("request_body", "code", "reason", "field"),
    [
        ({"alias_id": "a"}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "user_id"),
        ({"user_id": "", "alias_id": "a"}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "user_id"),
        ({"primary_user_id": "", "alias_id": "a"}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "primary_user_id"),
        ({"user_id": "u"}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "alias_id"),
        ({"user_id": None, "alias_id": "a"}, "INVALID_ARGUMENT", "FIELD_REQUIRED", "user_id"),
        ({"primary_user_id": "no-uuid", "alias_id": "a"}, "INVALID_ARGUMENT", "INVALID_VALUE", "primary_user_id"),
        (body("u", "a", merge_policy=9), "INVALID_ARGUMENT", "INVALID_VALUE", "merge_policy"),
        (body("u", "a", request_id="no-uuid"), "INVALID_ARGUMENT", "INVALID_VALUE", "request_id"),
        (body("nobody", "nobody"), "INVALID_ARGUMENT", "SELF_ALIAS", "alias_id"),
        (body("u", "null"), "INVALID_ARGUMENT", "RESERVED_IDENTIFIER", "alias_id"),
        (body("null", "a", create_missing=True), "INVALID_ARGUMENT", "RESERVED_IDENTIFIER", "user_id"),
        ({"primary_user_id": UNKNOWN_UUID, "alias_id": "a"}, "NOT_FOUND", "PROFILE_NOT_FOUND", None),
        (
            {"primary_user_id": UNKNOWN_UUID, "alias_id": "a", "create_missing": True},
            "NOT_FOUND",
            "PROFILE_NOT_FOUND",
            None,
        ),
        (body("nobody", "a"), "NOT_FOUND", "USER_NOT_FOUND", None),
        (body("u", "taken") | NEVER, "ALREADY_EXISTS", "ALIAS_TAKEN", None),
        (body("new", "taken", create_missing=True) | NEVER, "ALREADY_EXISTS", "ALIAS_TAKEN", None),
        (body("u", "taken"), "FAILED_PRECONDITION", "IDENTIFIED_PROFILE", None),
        (body("new", "taken", create_missing=True), "FAILED_PRECONDITION", "IDENTIFIED_PROFILE", None),
    ],
)
async def test_alias_answers_by_its_table(
    wire: Wire, request_body: dict[str, Any], code: str, reason: str, field: str | None
) -> None:
    await wire.identify("u", "taken")
    refusal = await wire.refused("Alias", request_body)
    assert (refusal.code.name, refusal.reason, refusal.field) == (code, reason, field)


async def test_a_refusal_names_both_profiles(wire: Wire) -> None:
    user, other = await wire.identify("u", "taken")
    refusal = await wire.refused("Alias", body("u", "taken"))
    assert refusal.metadata == {"alias_id": "taken", "user_profile_id": user, "alias_profile_id": other}


async def test_a_refusal_of_an_unknown_user_names_the_aliass_profile_alone(wire: Wire) -> None:
    (other,) = await wire.identify("taken")
    refusal = await wire.refused("Alias", body("new", "taken", create_missing=True))
    assert refusal.metadata == {"alias_id": "taken", "alias_profile_id": other}


async def test_a_refusal_writes_nothing(wire: Wire) -> None:
    await wire.identify("taken")
    await wire.refused("Alias", body("new", "taken", create_missing=True))
    assert await wire.profile_of("new") == ""


async def test_a_merge_that_would_give_two_names_to_a_label_is_refused(wire: Wire) -> None:
    user, other = await wire.identify("u", "v")
    for external_id, name in (("u", "one"), ("v", "two")):
        pair = {"external_id": external_id, "alias_label": "crm", "alias_name": name}
        await wire("CreateAliases", {"user_aliases": [pair]})
    refusal = await wire.refused("Alias", body("u", "v") | ALWAYS)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LABEL_TAKEN")
    assert refusal.metadata.items() >= {"label": "crm", "user_profile_id": user, "alias_profile_id": other}.items()


async def test_a_batch_answers_each_request_in_order(wire: Wire) -> None:
    user, other, third = await wire.identify("u", "v", "w")
    answer = await wire(
        "BatchAlias",
        {
            "requests": [
                body("u", "a"),
                body("a", "b"),
                body("u", "a"),
                body("u", "v") | ALWAYS,
                body("new", "c", create_missing=True),
            ]
        },
    )
    new = await wire.profile_of("new")
    assert new not in (user, other, third)
    assert answer == {
        "results": [
            {"outcome": "OUTCOME_LINKED", "profile_id": user, "user_id": "u"},
            {"index": 1, "outcome": "OUTCOME_LINKED", "profile_id": user, "user_id": "u"},
            {"index": 2, "outcome": "OUTCOME_ALREADY_LINKED", "profile_id": user, "user_id": "u"},
            {
                "index": 3,
                "outcome": "OUTCOME_MERGED",
                "profile_id": user,
                "merged_profile_id": other,
                "user_id": "u",
            },
            {"index": 4, "outcome": "OUTCOME_CREATED", "profile_id": new, "user_id": "new"},
        ]
    }


async def test_a_refused_item_leaves_the_others_alone(wire: Wire) -> None:
    await wire.identify("u", "taken")
    requests = [body("u", "taken"), body("u", "a"), body("", "b"), body("u", "c")]
    answer = await wire("BatchAlias", {"requests": requests})
    assert outcomes(answer) == ["IDENTIFIED_PROFILE", "LINKED", "FIELD_REQUIRED", "LINKED"]


async def test_a_refused_item_has_the_whole_error_of_the_call_alone(wire: Wire) -> None:
    user, other = await wire.identify("u", "taken")
    single = await wire.refused("Alias", body("u", "taken"))
    answer = await wire("BatchAlias", {"requests": [body("u", "taken")]})
    assert answer == {
        "results": [
            {
                "error": {
                    "code": grpc.StatusCode.FAILED_PRECONDITION.value[0],
                    "message": single.message,
                    "details": [
                        {
                            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                            "reason": "IDENTIFIED_PROFILE",
                            "domain": "aka",
                            "metadata": {"alias_id": "taken", "user_profile_id": user, "alias_profile_id": other},
                        }
                    ],
                },
                "reason": "ERROR_REASON_IDENTIFIED_PROFILE",
            }
        ]
    }


async def test_the_paths_of_a_batchs_errors_begin_with_the_item(wire: Wire) -> None:
    await wire.identify("u")
    requests = [
        body("u", "ok"),
        {"alias_id": "a"},
        body("u", ""),
        body("u", "u"),
        {"primary_user_id": "x", "alias_id": "a"},
        body("u", "null"),
        body("u", "a", merge_policy=77),
        body("u", "a", validate_only=True),
        body("u", "a", request_id=UNKNOWN_UUID),
    ]
    assert item_fields(await wire("BatchAlias", {"requests": requests})) == [
        None,
        "requests[1].user_id",
        "requests[2].alias_id",
        "requests[3].alias_id",
        "requests[4].primary_user_id",
        "requests[5].alias_id",
        "requests[6].merge_policy",
        "requests[7].validate_only",
        "requests[8].request_id",
    ]


async def test_an_items_message_says_the_missing_fields_whole_path(wire: Wire) -> None:
    answer = await wire("BatchAlias", {"requests": [{"user_id": "u"}]})
    assert answer["results"][0]["error"]["message"] == "Missing required field: requests[0].alias_id"
