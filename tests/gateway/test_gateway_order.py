"""What is looked at first: the JSON's shape, then key, permission and limit, then values and the sizes of batches."""

import json
import threading
from typing import Any

import pytest

from aka.server.gateway import body, calls, connect, values
from aka.server.gateway.refusal import Refusal
from tests.gateway.served import CONNECT, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

ITEM = {"external_id": "user_123", "user_alias": {"alias_label": "crm", "alias_name": "1"}}

OF_VALUES: dict[str, tuple[str, Any]] = {
    "an unknown merge_behavior": ("/users/identify", {"aliases_to_identify": [ITEM], "merge_behavior": "join"}),
    "an unknown merge_behavior of no items": ("/users/identify", {"aliases_to_identify": [], "merge_behavior": "join"}),
    "a property without a name": ("/v1/users", {"user_id": "user_123", "properties": {"": "pro"}}),
    "a property of nobody": ("/v1/users", {"properties": {"plan": "pro"}}),
    "a property that is too large a number": ("/v1/users", {"user_id": "user_123", "properties": {"age": 10**400}}),
    "a trait that is too large a number": ("/identify", {"distinct_id": "user_123", "traits": {"age": 10**400}}),
    "a time of traits that is none": (
        "/identify",
        {"distinct_id": "user_123", "traits": {"plan": "pro"}, "timestamp": "yesterday"},
    ),
    "a time that is none": ("/track", {"event": "opened", "distinct_id": "user_123", "timestamp": "yesterday"}),
    "a time in an array that is none": ("/track", [{"event": "opened", "distinct_id": "user_123", "timestamp": ""}]),
    "a trait without a name": ("/identify", {"distinct_id": "user_123", "traits": {"": "pro"}}),
    "traits of an event": ("/track", {"event": "opened", "distinct_id": "user_123", "traits": {"plan": "pro"}}),
    "an event of nobody who can be": ("/track", {"event": "opened", "distinct_id": "null"}),
    "too many events": ("/track", [{"event": "opened", "distinct_id": "user_123"}] * 76),
    "nothing to track": ("/users/track", {"attributes": []}),
    "nothing that can be tracked": ("/users/track", {"events": [7, {"external_id": 7}]}),
    "too many to track": ("/users/track", {"events": [{}] * 76}),
    "far too many to track": ("/users/track", {"attributes": [{}] * 100_000}),
    "nobody to export": ("/users/export/ids", {}),
    "too many to export": ("/users/export/ids", {"external_ids": ["a"] * 25, "user_aliases": [{}] * 26}),
    "far too many to export": ("/users/export/ids", {"external_ids": ["a"] * 100_000}),
    "an unknown field to export": ("/users/export/ids", {"external_ids": ["a"], "fields_to_export": ["shoe_size"]}),
    "what finds nobody": ("/users/export/ids", {"external_ids": ["a"], "phone": "+11112223333"}),
    "traits of an item": ("/alias", [{"distinct_id": "a", "alias_id": "b", "traits": {"plan": "pro"}}]),
    "properties of an alias": ("/v1/users/aliases", {"user_id": "a", "alias_id": "b", "properties": {"plan": "pro"}}),
    "a control character": ("/v1/users", {"user_id": "\x00"}),
    "too many requests": ("/alias", [{"distinct_id": "a", "alias_id": "b"}] * 101),
    "far too many requests": ("/alias", [{"distinct_id": "a", "alias_id": "b"}] * 20_000),
    "too many user aliases": ("/users/alias/new", {"user_aliases": [{}] * 51}),
    "far too many user aliases": ("/users/alias/new", {"user_aliases": [{}] * 100_000}),
    "far too many to identify": ("/users/identify", {"aliases_to_identify": [{}] * 100_000}),
    "a policy by its number": (f"{CONNECT}/Alias", {"user_id": "a", "alias_id": "b", "merge_policy": 7}),
    "too many identifiers": (f"{CONNECT}/Resolve", {"identifiers": [{}] * 1001}),
    "far too many identifiers": (f"{CONNECT}/Resolve", {"identifiers": [{}] * 100_000}),
    "far too many in a batch": (f"{CONNECT}/BatchAlias", {"requests": [{}] * 100_000}),
}
"""Bodies of a good shape in which a value, or the number of items, is at fault."""

of_values = pytest.mark.parametrize(("path", "sent"), OF_VALUES.values(), ids=OF_VALUES.keys())


@of_values
async def test_a_value_is_at_fault_for_a_caller_with_a_key(gateway: Gateway, path: str, sent: Any) -> None:
    answer = await gateway.post(path, sent)
    assert (answer.status_code, "Traceback" in answer.text) == (400, False)


@of_values
async def test_the_key_comes_before_the_values(gateway: Gateway, path: str, sent: Any) -> None:
    assert (await gateway.with_key(None).post(path, sent)).status_code == 401


@of_values
async def test_the_permission_comes_before_the_values(gateway: Gateway, path: str, sent: Any) -> None:
    assert (await gateway.with_only("keys.admin").post(path, sent)).status_code == 403


@of_values
async def test_the_limit_comes_before_the_values(limited: Gateway, path: str, sent: Any) -> None:
    await limited.use_up()
    assert (await limited.post(path, sent)).status_code == 429


@pytest.mark.parametrize("path", ["/v1/users", "/alias", "/users/identify", f"{CONNECT}/Alias"])
async def test_the_shape_comes_before_the_key(gateway: Gateway, path: str) -> None:
    assert (await gateway.with_key(None).post(path, 7)).status_code == 400


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/alias", [{"distinct_id": "a", "alias_id": "b"}, {"distinct_id": 7}]),
        ("/users/alias/new", {"user_aliases": [{}, {"alias_name": 7}]}),
        ("/users/identify", {"aliases_to_identify": [{}, 7]}),
        ("/track", [{"event": "opened", "distinct_id": "a"}, {"event": "opened", "timestamp": []}]),
        ("/users/export/ids", {"external_ids": ["a", 7]}),
        (f"{CONNECT}/Resolve", {"identifiers": [{}] * 999 + [7]}),
    ],
)
async def test_the_shape_of_every_item_comes_before_the_key(gateway: Gateway, path: str, sent: Any) -> None:
    assert (await gateway.with_key(None).post(path, sent)).status_code == 400


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/alias", [{"distinct_id": "a", "alias_id": "b"}] * 100 + [7]),
        ("/users/alias/new", {"user_aliases": [{}] * 50 + [7]}),
        ("/users/identify", {"aliases_to_identify": [{}] * 50 + [7]}),
        ("/track", [{"event": "opened", "distinct_id": "a"}] * 75 + [7]),
        ("/users/export/ids", {"external_ids": ["a"] * 50 + [7]}),
        (f"{CONNECT}/Resolve", {"identifiers": [{}] * 1000 + [7]}),
        (f"{CONNECT}/BatchAlias", {"requests": [{}] * 100 + [{"create_missing": 7}]}),
    ],
)
async def test_items_beyond_what_a_batch_may_have_are_not_read_without_a_key(
    gateway: Gateway, path: str, sent: Any
) -> None:
    assert (await gateway.with_key(None).post(path, sent)).status_code == 401


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/users/alias/new", "user_aliases"),
        ("/users/identify", "aliases_to_identify"),
        ("/users/track", "purchases"),
        ("/users/export/ids", "user_aliases"),
        (f"{CONNECT}/CreateAliases", "userAliases"),
        (f"{CONNECT}/Resolve", "identifiers"),
    ],
)
async def test_items_beyond_what_a_batch_may_have_are_counted(gateway: Gateway, path: str, field: str) -> None:
    answer = await gateway.post(path, {field: [{}] * 1234})
    assert (answer.status_code, "not 1234" in answer.json()["message"]) == (400, True)


async def test_a_refused_value_counts_as_a_call_and_changes_nothing(limited: Gateway) -> None:
    answer = await limited.post("/v1/users", {"user_id": "user_123", "properties": {"": "pro"}})
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (400, "3")
    assert await limited.knows("user_123") == [False]


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        (b'["' + b"[" * 100 + b'"]', True),
        (b'["\\\\", "' + b"{" * 100 + b'"]', True),
        (b'["\\"' + b"[" * 100 + b'"]', True),
        (b"[" + b"[]," * 100 + b"[]]", True),
        (b"[" * 32 + b"]" * 32, True),
        (b"[" * 33 + b"]" * 33, False),
        (b'["]]]]", ' + b"[" * 32 + b"]" * 32 + b"]", False),
        (b'{"[": ' * 33 + b"1" + b"}" * 33, False),
    ],
)
async def test_brackets_count_as_levels_where_they_are_not_in_strings(content: bytes, taken: bool) -> None:
    try:
        body.decode(content)
    except Refusal as refusal:
        assert not taken and "32 levels" in refusal.message
    else:
        assert taken


LARGE_BODIES: dict[str, Any] = {
    "/v1/users": {"user_id": "user_123", "properties": {}},
    "/identify": {"distinct_id": "user_123", "traits": {}},
    "/track": {"event": "opened", "distinct_id": "user_123", "properties": {}},
    "/users/track": {"events": [{"external_id": "user_123", "name": "opened", "properties": {}}]},
    f"{CONNECT}/Track": {"events": [{"external_id": "user_123", "name": "opened", "properties": {}}]},
}


@pytest.mark.parametrize("key", [None, "good"])
@pytest.mark.parametrize(("padding", "beside"), [(10, False), (calls.LARGE, True)], ids=["small", "large"])
@pytest.mark.parametrize(("path", "sent"), LARGE_BODIES.items(), ids=LARGE_BODIES.keys())
async def test_a_large_body_is_read_beside_the_event_loop(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, path: str, sent: Any, padding: int, beside: bool, key: str | None
) -> None:
    by = []

    def noted(read: Any) -> Any:
        def reads(*given: Any) -> Any:
            by.append(threading.current_thread())
            return read(*given)

        return reads

    monkeypatch.setattr(values, "struct", noted(values.struct))
    monkeypatch.setattr(connect, "parse", noted(connect.parse))
    content = (
        json.dumps(sent).replace('"properties": {', '"properties": {"a": 1').replace('"traits": {', '"traits": {"a": 1')
    )
    content = content[:-1] + " " * padding + content[-1]
    sender = gateway if key else gateway.with_key(None)
    answer = await sender.send("POST", path, content.encode())
    assert answer.status_code in ((200, 201) if key else (401,))
    assert by and [thread is not threading.main_thread() for thread in by] == [beside] * len(by)
