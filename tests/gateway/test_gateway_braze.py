"""Braze's dialect: `POST /users/alias/new` and `POST /users/identify`."""

from typing import Any

import pytest

from aka.v1 import alias_service_pb2 as v1
from tests.gateway.served import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEW = "/users/alias/new"
IDENTIFY = "/users/identify"


NO_OBJECTS: tuple[Any, ...] = ("crm", "", [], 0, False)


def pair(name: str, label: str = "crm") -> dict[str, str]:
    return {"alias_name": name, "alias_label": label}


async def profile_of_pair(gateway: Gateway, name: str, label: str = "crm") -> str:
    answer = await gateway.done("Resolve", {"identifiers": [{"user_alias": pair(name, label)}]})
    return str(answer["resolutions"][0]["profileId"])


async def new(gateway: Gateway, *items: Any) -> Any:
    answer = await gateway.post(NEW, {"user_aliases": list(items)})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def identify(gateway: Gateway, *items: Any, **beside: Any) -> Any:
    answer = await gateway.post(IDENTIFY, {"aliases_to_identify": list(items)} | beside)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_the_documented_request_for_a_known_user_is_created(gateway: Gateway) -> None:
    (profile,) = await gateway.identified("user_123")
    body = {"api_key": gateway.key, "user_aliases": [{"external_id": "user_123"} | pair("1")]}
    answer = await gateway.with_key(None).post(NEW, body)
    assert (answer.status_code, answer.json()) == (201, {"aliases_processed": 1, "message": "success"})
    assert await profile_of_pair(gateway, "1") == profile


async def test_the_documented_request_without_an_external_id_makes_an_alias_only_user(gateway: Gateway) -> None:
    answer = await gateway.with_key(None).post(NEW, {"api_key": gateway.key, "user_aliases": [pair("1")]})
    assert (answer.status_code, answer.json()) == (201, {"aliases_processed": 1, "message": "success"})
    resolved = await gateway.done("Resolve", {"identifiers": [{"user_alias": pair("1")}]})
    assert (resolved["resolutions"][0]["found"], resolved["resolutions"][0]["identified"]) == (True, False)


async def test_the_documented_request_identifies_an_alias_only_user(gateway: Gateway) -> None:
    await new(gateway, pair("1"))
    item = {"external_id": "user_123", "user_alias": pair("1")}
    answer = await gateway.with_key(None).post(IDENTIFY, {"api_key": gateway.key, "aliases_to_identify": [item]})
    assert (answer.status_code, answer.json()) == (201, {"aliases_processed": 1, "message": "success"})
    assert await gateway.profiles("user_123") == [await profile_of_pair(gateway, "1")]


async def test_an_external_id_of_null_is_as_if_absent(gateway: Gateway) -> None:
    answer = await new(gateway, {"external_id": None} | pair("1"))
    assert answer == {"aliases_processed": 1, "message": "success"}


async def test_the_same_request_again_is_a_success(gateway: Gateway) -> None:
    await new(gateway, pair("1"))
    assert await new(gateway, pair("1")) == {"aliases_processed": 1, "message": "success"}


async def test_an_unknown_external_id_is_an_error_of_its_item_alone(gateway: Gateway) -> None:
    answer = await new(gateway, pair("1"), {"external_id": "nobody"} | pair("2"), pair("3"))
    assert (answer["aliases_processed"], answer["message"], len(answer["errors"])) == (2, "success", 1)
    (error,) = answer["errors"]
    assert (sorted(error), error["input_array"], error["index"]) == (
        ["index", "input_array", "type"],
        "user_aliases",
        1,
    )


async def test_an_items_error_has_the_refusals_message_as_its_type(gateway: Gateway) -> None:
    answer = await new(gateway, {"alias_label": "crm"})
    assert answer["errors"][0]["type"] == "Missing required field: user_aliases[0].alias_name"


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({}, "alias_name"),
        ({"alias_name": "1"}, "alias_label"),
        ({"alias_name": None, "alias_label": "crm"}, "alias_name"),
        ({"external_id": ""} | pair("1"), "external_id"),
    ],
)
async def test_a_missing_field_is_an_error_of_its_item(gateway: Gateway, item: Any, field: str) -> None:
    answer = await new(gateway, item, pair("2"))
    assert (answer["aliases_processed"], answer["errors"]) == (
        1,
        [{"type": f"Missing required field: user_aliases[0].{field}", "input_array": "user_aliases", "index": 0}],
    )


async def test_a_pair_that_is_another_users_is_an_error_of_its_item(gateway: Gateway) -> None:
    await gateway.identified("user_1", "user_2")
    answer = await new(gateway, {"external_id": "user_1"} | pair("1"), {"external_id": "user_2"} | pair("1"))
    assert (answer["aliases_processed"], [error["index"] for error in answer["errors"]]) == (1, [1])


async def test_a_second_name_under_a_label_is_an_error_of_its_item(gateway: Gateway) -> None:
    await gateway.identified("user_1")
    answer = await new(gateway, {"external_id": "user_1"} | pair("1"), {"external_id": "user_1"} | pair("2"))
    assert (answer["aliases_processed"], [error["index"] for error in answer["errors"]]) == (1, [1])


async def test_where_all_items_fail_none_was_processed(gateway: Gateway) -> None:
    answer = await new(gateway, {}, {})
    assert (answer["aliases_processed"], [error["index"] for error in answer["errors"]]) == (0, [0, 1])


async def test_unknown_fields_are_ignored(gateway: Gateway) -> None:
    answer = await new(gateway, pair("1") | {"anonymous_id": 7, "more": {"a": []}})
    assert answer == {"aliases_processed": 1, "message": "success"}


async def test_an_unknown_user_alias_is_an_error_of_its_item(gateway: Gateway) -> None:
    answer = await identify(gateway, {"external_id": "user_123", "user_alias": pair("1")})
    assert (answer["aliases_processed"], answer["errors"][0]["input_array"]) == (0, "aliases_to_identify")
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize(
    "item", [{}, {"user_alias": None}, {"user_alias": {}}, {"user_alias": {"alias_label": "crm"}}], ids=repr
)
async def test_an_object_without_a_user_alias_is_an_error_of_its_item(gateway: Gateway, item: Any) -> None:
    answer = await identify(gateway, {"external_id": "user_123"} | item)
    message = "Missing required field: aliases_to_identify[0].user_alias.alias_name"
    assert answer["errors"] == [{"type": message, "input_array": "aliases_to_identify", "index": 0}]
    assert await gateway.knows("user_123") == [False]


@pytest.mark.parametrize("external", [{}, {"external_id": None}, {"external_id": ""}], ids=repr)
async def test_an_object_without_an_external_id_is_an_error_of_its_item(gateway: Gateway, external: Any) -> None:
    answer = await identify(gateway, external | {"user_alias": pair("1")})
    assert answer["errors"][0]["type"] == "Missing required field: aliases_to_identify[0].external_id"


async def test_a_user_alias_of_another_identified_user_is_an_error_of_its_item(gateway: Gateway) -> None:
    await gateway.identified("user_1")
    await new(gateway, {"external_id": "user_1"} | pair("1"))
    answer = await identify(gateway, {"external_id": "user_2", "user_alias": pair("1")})
    assert (answer["aliases_processed"], answer["errors"][0]["index"]) == (0, 0)


@pytest.mark.parametrize(
    ("given", "behavior"),
    [
        ({}, v1.MERGE_BEHAVIOR_UNSPECIFIED),
        ({"merge_behavior": None}, v1.MERGE_BEHAVIOR_UNSPECIFIED),
        ({"merge_behavior": "none"}, v1.MERGE_BEHAVIOR_NONE),
        ({"merge_behavior": "merge"}, v1.MERGE_BEHAVIOR_MERGE),
    ],
    ids=repr,
)
async def test_the_merge_behavior_is_passed_on(gateway: Gateway, given: Any, behavior: int) -> None:
    await new(gateway, pair("1"))
    await identify(gateway, {"external_id": "user_123", "user_alias": pair("1")}, **given)
    assert gateway.trouble.seen[-1].merge_behavior == behavior


@pytest.mark.parametrize("behavior", ["MERGE", "", "all", 1, ["merge"], {}], ids=repr)
async def test_another_merge_behavior_is_a_bad_request(gateway: Gateway, behavior: Any) -> None:
    await new(gateway, pair("1"))
    item = {"external_id": "user_123", "user_alias": pair("1")}
    answer = await gateway.post(IDENTIFY, {"aliases_to_identify": [item], "merge_behavior": behavior})
    assert (answer.status_code, "merge_behavior" in answer.json()["message"]) == (400, True)
    assert await gateway.knows("user_123") == [False]


async def test_50_objects_are_done(gateway: Gateway) -> None:
    answer = await new(gateway, *(pair(str(number)) for number in range(50)))
    assert answer == {"aliases_processed": 50, "message": "success"}


@pytest.mark.parametrize(("path", "field"), [(NEW, "user_aliases"), (IDENTIFY, "aliases_to_identify")])
@pytest.mark.parametrize("count", [0, 51])
async def test_none_or_51_objects_are_a_bad_request_and_nothing_is_done(
    gateway: Gateway, path: str, field: str, count: int
) -> None:
    answer = await gateway.post(path, {field: [{"external_id": "user_123"} | pair("1")] * count})
    assert (answer.status_code, answer.json()) == (
        400,
        {"message": f"{field} must have 1 to 50 items, not {count}; nothing was applied", "errors": []},
    )


@pytest.mark.parametrize(("path", "field"), [(NEW, "user_aliases"), (IDENTIFY, "aliases_to_identify")])
@pytest.mark.parametrize("null", [False, True], ids=["absent", "null"])
async def test_no_array_is_a_bad_request(gateway: Gateway, path: str, field: str, null: bool) -> None:
    answer = await gateway.post(path, {field: None} if null else {})
    assert (answer.status_code, answer.json()) == (
        400,
        {"message": f"Missing required field: {field}", "errors": []},
    )


@pytest.mark.parametrize(("path", "field"), [(NEW, "user_aliases"), (IDENTIFY, "aliases_to_identify")])
@pytest.mark.parametrize("value", [{}, "a", 7, True, [7], ["a"], [None], [[]]], ids=repr)
async def test_what_is_no_array_of_objects_is_a_bad_request(
    gateway: Gateway, path: str, field: str, value: Any
) -> None:
    answer = await gateway.post(path, {field: value})
    assert (answer.status_code, sorted(answer.json())) == (400, ["errors", "message"])
    assert answer.json()["message"].startswith(field)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (NEW, {"user_aliases": [pair("1"), {"alias_name": 7, "alias_label": "crm"}]}, "user_aliases[1].alias_name"),
        (NEW, {"user_aliases": [{"external_id": 7} | pair("1")]}, "user_aliases[0].external_id"),
        (IDENTIFY, {"aliases_to_identify": [{"external_id": 7}]}, "aliases_to_identify[0].external_id"),
        *(
            (IDENTIFY, {"aliases_to_identify": [{"user_alias": wrong}]}, "aliases_to_identify[0].user_alias")
            for wrong in NO_OBJECTS
        ),
        (
            IDENTIFY,
            {"aliases_to_identify": [{"user_alias": {"alias_name": []}}]},
            "aliases_to_identify[0].user_alias.alias_name",
        ),
    ],
)
async def test_a_field_of_another_type_is_a_bad_request_that_names_it(
    gateway: Gateway, path: str, body: Any, named: str
) -> None:
    answer = await gateway.post(path, body)
    assert (answer.status_code, answer.json()["errors"]) == (400, [])
    assert answer.json()["message"].startswith(f"{named} must be ")
    assert await profile_of_pair(gateway, "1") == ""
