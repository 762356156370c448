"""Bodies made of rubbish by a seeded generator: whatever arrives, no 5xx and no trace comes back."""

import asyncio
import json
import os
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest

from tests.gateway.served import CONNECT, ENDPOINTS, Gateway, gateway_over
from tests.grpc.wire import UNKNOWN_UUID

BODIES: Final = 100_000 if os.environ.get("AKA_TEST_LONG") == "1" else 20_000
CONNECTIONS: Final = 8

ADMIN: Final = "/aka.admin.v1.AdminService"

SEEDS: Final[list[tuple[str, Any]]] = [
    *ENDPOINTS.items(),
    ("/v1/users/aliases", {"primary_user_id": UNKNOWN_UUID, "alias_id": "legacy_999"}),
    ("/v1/users", {"user_id": "user_123", "properties": {"plan": "pro"}, "email": None}),
    ("/alias", [{"distinct_id": "a", "alias_id": "b"}, {"distinct_id": "c", "new_user_id": "d"}]),
    ("/alias", {"distinct_id": "a", "alias_id": "b", "environment": "production", "timestamp": 1}),
    ("/identify", {"distinct_id": "a", "anonymous_id": "s", "traits": {"a": 1}, "timestamp": "2026-01-02T03:04:05Z"}),
    ("/track", {"event": "e", "distinct_id": "a", "properties": {"a": [1]}, "timestamp": 1767225600.5}),
    ("/track", [{"event": "e", "distinct_id": "a"}, {"event": "e", "anonymous_id": "s", "traits": {}}]),
    (
        "/users/track",
        {
            "attributes": [
                {"external_id": "a", "plan": "pro", "push_tokens": [{"app_id": "a", "token": "t", "device_id": "d"}]},
                {"user_alias": {"alias_label": "l", "alias_name": "n"}, "_update_existing_only": False},
            ],
            "events": [{"external_id": "a", "name": "e", "time": "2026-01-02T03:04:05Z", "properties": {"a": 1}}],
            "purchases": [{"external_id": "a", "product_id": "p", "currency": "EUR", "price": 1.5, "quantity": 2}],
        },
    ),
    (
        "/users/export/ids",
        {
            "external_ids": ["a"],
            "user_aliases": [{"alias_label": "l", "alias_name": "n"}],
            "braze_id": UNKNOWN_UUID,
            "fields_to_export": ["custom_events", "orphaned"],
        },
    ),
    ("/users/alias/new", {"user_aliases": [{"external_id": "a", "alias_label": "l", "alias_name": "n"}] * 2}),
    (
        "/users/identify",
        {
            "aliases_to_identify": [{"external_id": "a", "user_alias": {"alias_label": "l", "alias_name": "n"}}],
            "merge_behavior": "merge",
        },
    ),
    (
        f"{CONNECT}/Alias",
        {
            "user_id": "a",
            "alias_id": "b",
            "merge_policy": "MERGE_POLICY_ALWAYS",
            "create_missing": True,
            "request_id": UNKNOWN_UUID,
        },
    ),
    (f"{CONNECT}/BatchAlias", {"requests": [{"userId": "a", "aliasId": "b"}], "validateOnly": True}),
    (f"{CONNECT}/CreateAliases", {"user_aliases": [{"anonymous_id": "s"}]}),
    (f"{CONNECT}/Identify", {"aliases_to_identify": [{"external_id": "a", "anonymous_id": "s"}], "merge_behavior": 2}),
    (f"{CONNECT}/Resolve", {"identifiers": [{"id": "a"}, {"user_alias": {"alias_label": "l", "alias_name": "n"}}]}),
    (f"{CONNECT}/GetProfile", {"identifier": {"id": "a"}, "page_size": 1, "page_token": "x"}),
    (f"{CONNECT}/DeleteAlias", {"id": "b", "profile_id": UNKNOWN_UUID, "allow_missing": True}),
    (f"{ADMIN}/CreateKey", {"name": "a", "permissions": ["profiles.read"], "expires_at": "2100-01-01T00:00:00Z"}),
    (f"{ADMIN}/ListKeys", {"page_size": 1, "page_token": "x"}),
    (f"{ADMIN}/RevokeKey", {"key_id": UNKNOWN_UUID}),
]

VALUES: Final[list[Any]] = [
    *(None, True, False, 0, -1, 1, 1.5, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308, 10**400),
    *("", " ", "a", "null", "0", "[object Object]", "\x00", "\ud800", "\udfff", "é", "\U0001f600", "\u202e", "x" * 401),
    *("user_123", "legacy_999", UNKNOWN_UUID, "production", "MERGE_POLICY_NEVER", "%s", "../..", "a" * 5000),
    *([], {}, [[]], [{}], {"": None}, [None], ["a"], {"a": {"b": ["c"]}}, [0] * 200, {"@type": "x"}, [[[[[[[[]]]]]]]]),
]

NAMES: Final = ["user_id", "alias_id", "api_key", "external_id", "traits", "", "x", "[a.b]", "@type", "__proto__", "é"]

SPLINTERS: Final = [
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b":",
]

CONTENT_TYPES: Final = ["application/json"] * 30 + [
    "application/proto",
    "text/plain",
    "application/json; charset=utf-16",
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with each of its keys."""
    pairs: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from places(inner)


def bent(value: Any, rng: random.Random) -> Any:
    """Return a value with something in it replaced, removed, added, doubled or wrapped."""
    value = deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = list(places(value))
        if not found or rng.random() < 0.05:
            value = rng.choice((deepcopy(rng.choice(VALUES)), [value], {"a": value}))
            continue
        container, key = rng.choice(found)
        match rng.randrange(6):
            case 0 | 1 | 2:
                container[key] = deepcopy(rng.choice(VALUES))
            case 3:
                del container[key]
            case 4 if isinstance(container, dict):
                container[rng.choice(NAMES)] = deepcopy(rng.choice(VALUES))
            case 4:
                container.extend(deepcopy(container[:60]))
            case 5:
                for _ in range(rng.choice((1, 2, 30, 40))):
                    container[key] = rng.choice(([container[key]], {"a": container[key]}))
    return value


def broken(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with some changed, left out, put in or doubled."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(content) + 1)
        to = min(len(content), at + rng.randrange(12))
        match rng.randrange(5):
            case 0:
                content = content[:at] + rng.randbytes(rng.randrange(4)) + content[to:]
            case 1:
                content = content[:at] + rng.choice(SPLINTERS) + content[at:]
            case 2:
                content = content[:at]
            case 3:
                content = content[:to] + content[at:]
            case 4:
                content = content[:at] + content[to:]
    return content


def rubbish(rng: random.Random) -> tuple[str, str, bytes]:
    """Return a path, a content type and a body."""
    path, good = rng.choice(SEEDS)
    value = bent(good, rng) if rng.random() < 0.7 else good
    content = json.dumps(value, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
    if value is good or rng.random() < 0.3:
        content = broken(content, rng)
    return path, rng.choice(CONTENT_TYPES), content


async def pour(gateway: Gateway, seed: int, count: int) -> list[str]:
    """Send rubbish over one connection, and return what came back that must not."""
    rng = random.Random(seed)
    host, _, port = gateway.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    faults = []
    for _ in range(count):
        path, content_type, content = rubbish(rng)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: aka\r\nauthorization: Bearer {gateway.key}\r\n"
            f"content-type: {content_type}\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        answered = await reader.readuntil(b"\r\n\r\n")
        length = int(answered.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        status = int(answered[9:12])
        if status >= 500 or b"Traceback" in body or not says_why(status, content_type, body):
            faults.append(f"{path} {content_type} {content!r} -> {status} {body!r}")
    writer.close()
    return faults


def says_why(status: int, content_type: str, body: bytes) -> bool:
    """Whether an answer is an object; an error with a message."""
    if content_type == "application/proto" and status == 200:
        return True
    shown = json.loads(body)
    return status < 300 or bool(shown["message"])


@pytest.mark.timeout(900)
async def test_no_body_whatever_is_answered_with_a_server_error_or_a_trace(tmp_path: Path) -> None:
    async with gateway_over("in process", tmp_path / "aka.db") as gateway:
        count = BODIES // CONNECTIONS
        poured = await asyncio.gather(*(pour(gateway, seed, count) for seed in range(CONNECTIONS)))
        assert [fault for faults in poured for fault in faults] == []


@pytest.mark.parametrize("seed", range(3))
def test_the_generator_makes_the_same_bodies_of_the_same_seed(seed: int) -> None:
    first, second = random.Random(seed), random.Random(seed)
    assert [rubbish(first) for _ in range(50)] == [rubbish(second) for _ in range(50)]
