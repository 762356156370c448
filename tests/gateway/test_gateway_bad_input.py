"""Bodies and headers that nobody should send: the dialect's own 4xx with a body, never a 500, never a trace."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATHS = tuple(ENDPOINTS)
ALL = (*PATHS, f"{CONNECT}/Alias")

MEBIBYTE = 1024 * 1024

every_path = pytest.mark.parametrize("path", ALL)

NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "cut off": b'{"user_id": "u", "alias_id": ',
    "two values": b"{}{}",
    "a trailing comma": b'{"user_id": "u",}',
    "a comment": b'{"user_id": "u"} // comment',
    "single quotes": b"{'user_id': 'u'}",
    "a bare word": b"undefined",
    "NaN": b"NaN",
    "a field that is NaN": b'{"user_id": NaN}',
    "Infinity": b"-Infinity",
    "a number out of range": b'{"user_id": 1e999}',
    "a number of 5000 digits": b'{"user_id": ' + b"9" * 5000 + b"}",
    "a raw control character": b'{"user_id": "a\x01b"}',
    "a byte order mark": b'\xef\xbb\xbf{"user_id": "u"}',
    "not UTF-8": b'{"user_id": "\xff"}',
    "Latin-1": '{"user_id": "é"}'.encode("latin-1"),
    "UTF-16": '{"user_id": "u"}'.encode("utf-16"),
    "an overlong slash": b'{"user_id": "\xc0\xaf"}',
    "a raw lone surrogate": b'{"user_id": "\xed\xa0\x80"}',
    "an escaped high surrogate": b'{"user_id": "\\ud800"}',
    "an escaped low surrogate": b'{"user_id": "\\udc00"}',
    "two high surrogates": b'{"user_id": "\\ud800\\ud800"}',
    "a surrogate in a name": b'{"\\ud800": "u"}',
    "a NUL after it": b"{}\x00",
    "form data": b"user_id=u&alias_id=a",
    "protobuf": b"\x0a\x01u\x1a\x01a",
    "5000 brackets": b"[" * 5000,
    "5000 braces": b'{"a":' * 5000,
    "5000 pairs of brackets": b"[" * 5000 + b"]" * 5000,
    "a mebibyte of brackets": b"[" * MEBIBYTE,
}


def check_refused(answer: httpx.Response, path: str, status: int) -> None:
    """Hold an answer against its dialect's shape of an error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    if path.startswith(CONNECT):
        assert shown["code"] in ("invalid_argument", "resource_exhausted", "deadline_exceeded")
    elif path in ("/alias", "/identify", "/track"):
        assert (shown["ok"], shown["error_code"]) == (False, "invalid-request")
    elif path.startswith("/v1"):
        assert sorted(shown) == ["code", "details", "error", "message"]
    else:
        assert shown["errors"] == []
    assert shown["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/v1/users/aliases", "/identify", "/users/identify", f"{CONNECT}/Alias"])
@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON.keys())
async def test_what_is_no_json_is_refused(gateway: Gateway, path: str, content: bytes) -> None:
    check_refused(await gateway.send("POST", path, content), path, 400)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((path, value) for path in ALL for value in ("null", "7", '"text"', "[null]", "[[]]")),
        *((path, "[]") for path in ALL if path != "/alias"),
        *((path, "[{}]") for path in ALL if path != "/alias"),
    ],
)
async def test_what_is_no_object_is_refused(gateway: Gateway, path: str, value: str) -> None:
    check_refused(await gateway.send("POST", path, value.encode()), path, 400)


@pytest.mark.parametrize("path", ["/v1/users", "/users/identify"])
async def test_no_object_is_told_as_such(gateway: Gateway, path: str) -> None:
    answer = await gateway.send("POST", path, b"[]")
    assert answer.json()["message"] == "The body must be an object, not an array"


async def test_a_body_of_another_type_names_no_field(gateway: Gateway) -> None:
    shown = (await gateway.send("POST", "/v1/users", b"[]")).json()
    assert (shown["code"], shown["details"]) == ("INVALID_TYPE", {})


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("Alias", {"user_id": 7}),
        ("Alias", {"userId": True}),
        ("Alias", {"user_id": ["u"]}),
        ("Alias", {"user_id": {"a": "u"}}),
        ("Alias", {"user_id": "u", "create_missing": "yes"}),
        ("Alias", {"user_id": "u", "create_missing": 1}),
        ("Alias", {"user_id": "u", "merge_policy": []}),
        ("Alias", {"user_id": "u", "primary_user_id": "p"}),
        ("BatchAlias", {"requests": {}}),
        ("BatchAlias", {"requests": "u"}),
        ("BatchAlias", {"requests": [["user_id"]]}),
        ("BatchAlias", {"requests": ["user_id"]}),
        ("BatchAlias", {"requests": [None]}),
        ("BatchAlias", {"requests": [7]}),
        ("Resolve", {"identifiers": [{"user_alias": "crm"}]}),
        ("Resolve", {"identifiers": [{"user_alias": []}]}),
        ("Resolve", {"identifiers": [{"userAlias": {"aliasLabel": 7}}]}),
        ("GetProfile", {"identifier": []}),
        ("GetProfile", {"identifier": {"id": "u"}, "page_size": "many"}),
        ("GetProfile", {"identifier": {"id": "u"}, "page_size": 1.5}),
        ("GetProfile", {"identifier": {"id": "u"}, "page_size": 2**31}),
        ("GetProfile", {"identifier": {"id": "u"}, "page_size": True}),
    ],
)
async def test_a_field_of_another_type_is_an_invalid_argument_to_a_connect_client(
    gateway: Gateway, method: str, sent: Any
) -> None:
    check_refused(await gateway.call(method, sent), f"{CONNECT}/{method}", 400)


async def test_a_field_of_another_type_is_named_to_a_connect_client(gateway: Gateway) -> None:
    shown = (await gateway.call("Resolve", {"identifiers": [{"id": "a"}, {"userAlias": []}]})).json()
    assert shown["message"] == "identifiers[1].userAlias must be an object, not an array"


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def within(levels: int) -> dict[str, bytes]:
    """Return good objects with an unknown field, nested so many levels in all."""
    return {
        path: json.dumps(sent)[:-1].encode() + b', "unknown": ' + nested(levels - 1).encode() + b"}"
        for path, sent in ENDPOINTS.items()
        if path != "/v1/users"
    } | {f"{CONNECT}/Resolve": b'{"identifiers": [{"id": "a"}], "unknown": ' + nested(levels - 1).encode() + b"}"}


@pytest.mark.parametrize("path", within(0))
async def test_a_body_of_32_levels_is_taken(gateway: Gateway, path: str) -> None:
    await gateway.identified("user_123")
    assert (await gateway.send("POST", path, within(32)[path])).is_success


@pytest.mark.parametrize("path", within(0))
async def test_a_body_of_33_levels_is_refused(gateway: Gateway, path: str) -> None:
    await gateway.identified("user_123")
    answer = await gateway.send("POST", path, within(33)[path])
    check_refused(answer, path, 400)
    assert "32 levels" in answer.json()["message"]


async def test_objects_count_as_levels_too(gateway: Gateway) -> None:
    content = b'{"distinct_id":"u","unknown":' + nested(32, '{"a":', "}").replace(":}", ":1}").encode() + b"}"
    check_refused(await gateway.send("POST", "/identify", content), "/identify", 400)


@pytest.mark.parametrize("path", PATHS)
async def test_of_a_duplicate_name_the_last_counts(gateway: Gateway, path: str) -> None:
    await gateway.identified("user_123")
    good = json.dumps(ENDPOINTS[path])[1:]
    first = ", ".join(f'"{name}": 7' for name in ENDPOINTS[path])
    assert (await gateway.send("POST", path, b"{" + first.encode() + b", " + good.encode())).is_success


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["unknown", "", "é" * 10_000], ids=["unknown", "empty", "long"])
async def test_an_unknown_field_is_ignored(gateway: Gateway, path: str, name: str) -> None:
    await gateway.identified("user_123")
    answer = await gateway.post(path, ENDPOINTS[path] | {name: 7})
    assert answer.is_success or (path == "/v1/users" and name != "unknown")  # where it is the name of a property


@every_path
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "rubbish",
        "a;application/json",
    ],
)
async def test_another_content_type_is_415(gateway: Gateway, path: str, content_type: str) -> None:
    answer = await gateway.send("POST", path, json.dumps(ENDPOINTS.get(path, {})).encode(), content_type=content_type)
    check_refused(answer, path, 415)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("encoding", ["gzip", "br", "rubbish"])
async def test_an_encoded_body_is_415(gateway: Gateway, path: str, encoding: str) -> None:
    check_refused(await gateway.send("POST", path, b"{}", content_encoding=encoding), path, 415)


@every_path
async def test_a_body_of_a_mebibyte_is_read(gateway: Gateway, path: str) -> None:
    answer = await gateway.send("POST", path, b"7" + b" " * (MEBIBYTE - 1))
    check_refused(answer, path, 400)


@every_path
async def test_a_body_over_a_mebibyte_is_413(gateway: Gateway, path: str) -> None:
    check_refused(await gateway.send("POST", path, b"7" + b" " * MEBIBYTE), path, 413)


@every_path
async def test_a_body_of_10_mb_is_413(gateway: Gateway, path: str) -> None:
    check_refused(await gateway.send("POST", path, b'{"user_id": "' + b"u" * 10_000_000 + b'"}'), path, 413)


@every_path
async def test_a_chunked_body_over_a_mebibyte_is_413(gateway: Gateway, path: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"authorization": f"Bearer {gateway.key}"}
    answer = await gateway.client.post(path, content=chunks(), headers=headers)
    check_refused(answer, path, 413)


@every_path
async def test_a_chunked_body_is_taken(gateway: Gateway, path: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in b"[true]":
            yield bytes([byte])

    check_refused(await gateway.client.post(path, content=chunks()), path, 400)


@pytest.mark.parametrize("path", PATHS)
async def test_values_of_control_characters_and_long_ones_are_no_server_error(gateway: Gateway, path: str) -> None:
    for value in ("\x00", "\x7f", "\u2028", "\ufeff", "\U0010ffff", "x" * 500_000, "%s%n{0}", "'; DROP TABLE profiles"):
        sent = json.loads(json.dumps(ENDPOINTS[path]).replace("user_123", "VALUE"))
        content = json.dumps(sent).replace('"VALUE"', json.dumps(value)).encode()
        assert (await gateway.send("POST", path, content)).status_code < 500


@pytest.mark.parametrize(
    "name", [b"x-other", b"cookie", b"x-forwarded-for", b"accept", b"user-agent", b"accept-encoding"]
)
@pytest.mark.parametrize("value", [b"\xff\xfe\xe9", "日本".encode(), b"x" * 50_000], ids=["latin", "UTF-8", "long"])
async def test_a_strange_header_changes_nothing(gateway: Gateway, name: bytes, value: bytes) -> None:
    sent = {name: value, b"authorization": f"Bearer {gateway.key}".encode()}
    answer = await gateway.client.post("/v1/users", json={"user_id": "u"}, headers=sent)
    assert answer.status_code == 200


@pytest.mark.parametrize("name", [b"content-type", b"content-encoding", b"connect-protocol-version"])
@pytest.mark.parametrize("value", [b"\xff\xfe\xe9", "日本".encode(), b"x" * 50_000], ids=["latin", "UTF-8", "long"])
async def test_a_strange_value_of_a_header_that_counts_is_refused(gateway: Gateway, name: bytes, value: bytes) -> None:
    answer = await gateway.client.post(f"{CONNECT}/Resolve", content=b"{}", headers={name: value})
    assert (answer.status_code in (400, 415, 501), bool(answer.json()["message"])) == (True, True)
