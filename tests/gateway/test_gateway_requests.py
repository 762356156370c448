"""What surrounds every request: keys, request ids, the order of the checks."""

import re
from typing import Any

import pytest

from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEW: dict[str, Any] = ENDPOINTS["/users/alias/new"]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_bearer_scheme_may_be_in_any_case(gateway: Gateway, scheme: str) -> None:
    sent = gateway.with_key(None).with_headers(authorization=f"{scheme} {gateway.key}")
    assert (await sent.post("/v1/users", {"user_id": "u"})).status_code == 200


@pytest.mark.parametrize("path", ["/alias", "/identify", "/track"])
async def test_altertable_takes_the_key_as_x_api_key(gateway: Gateway, path: str) -> None:
    sent = gateway.with_key(None).with_headers(x_api_key=str(gateway.key))
    assert (await sent.post(path, ENDPOINTS[path])).status_code == 200


async def test_x_api_key_wins_over_a_bad_bearer(gateway: Gateway) -> None:
    sent = gateway.with_key("aka_unknown").with_headers(x_api_key=str(gateway.key))
    assert (await sent.post("/alias", ENDPOINTS["/alias"])).status_code == 200


async def test_a_bad_x_api_key_wins_over_a_good_bearer(gateway: Gateway) -> None:
    sent = gateway.with_headers(x_api_key="aka_unknown")
    assert (await sent.post("/alias", ENDPOINTS["/alias"])).status_code == 401


async def test_an_empty_x_api_key_is_as_if_absent(gateway: Gateway) -> None:
    sent = gateway.with_headers(x_api_key="")
    assert (await sent.post("/alias", ENDPOINTS["/alias"])).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, body) for path, body in ENDPOINTS.items() if path not in ("/alias", "/identify", "/track")),
        (f"{CONNECT}/Identify", {"aliases_to_identify": [{"external_id": "u"}]}),
    ],
)
async def test_x_api_key_is_no_key_but_to_altertable(gateway: Gateway, path: str, body: Any) -> None:
    sent = gateway.with_key(None).with_headers(x_api_key=str(gateway.key))
    assert (await sent.post(path, body)).status_code == 401


@pytest.mark.parametrize("path", ["/users/alias/new", "/users/identify", "/users/track", "/users/export/ids"])
async def test_braze_takes_the_key_in_the_body(gateway: Gateway, path: str) -> None:
    answer = await gateway.with_key(None).post(path, ENDPOINTS[path] | {"api_key": gateway.key})
    assert answer.status_code == 201


async def test_a_bad_header_wins_over_a_good_api_key_in_the_body(gateway: Gateway) -> None:
    answer = await gateway.with_key("aka_unknown").post("/users/alias/new", NEW | {"api_key": gateway.key})
    assert answer.status_code == 401


async def test_a_good_header_wins_over_a_bad_api_key_in_the_body(gateway: Gateway) -> None:
    assert (await gateway.post("/users/alias/new", NEW | {"api_key": "aka_unknown"})).status_code == 201


@pytest.mark.parametrize("absent", [None, ""], ids=repr)
async def test_an_api_key_of_null_or_nothing_is_a_missing_key(gateway: Gateway, absent: Any) -> None:
    answer = await gateway.with_key(None).post("/users/alias/new", NEW | {"api_key": absent})
    assert answer.status_code == 401
    assert answer.json()["message"].startswith("The call bears no API key")


@pytest.mark.parametrize("key", [7, True, ["aka_key"], {"a": "aka_key"}], ids=repr)
async def test_an_api_key_that_is_no_string_is_a_bad_request(gateway: Gateway, key: Any) -> None:
    answer = await gateway.post("/users/alias/new", NEW | {"api_key": key})
    assert (answer.status_code, answer.json()["message"].startswith("api_key must be a string")) == (400, True)


@pytest.mark.parametrize("path", ["/v1/users", "/alias"])
async def test_an_api_key_in_the_body_is_no_key_but_to_braze(gateway: Gateway, path: str) -> None:
    answer = await gateway.with_key(None).post(path, ENDPOINTS[path] | {"api_key": gateway.key})
    assert answer.status_code in (400, 401)


STRANGE = "aka_secret-that-must-not-come-back"


@pytest.mark.parametrize(
    "body",
    [
        NEW | {"api_key": STRANGE},
        {"api_key": STRANGE},
        {"api_key": STRANGE, "user_aliases": 7},
        {"api_key": STRANGE, "user_aliases": []},
        {"api_key": [STRANGE]},
        [{"api_key": STRANGE}],
    ],
    ids=repr,
)
async def test_a_key_in_the_body_never_comes_back(gateway: Gateway, body: Any) -> None:
    answer = await gateway.with_key(None).post("/users/alias/new", body)
    assert (answer.is_client_error, STRANGE in answer.text, STRANGE in str(answer.headers)) == (True, False, False)


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_key_in_a_header_never_comes_back(gateway: Gateway, path: str) -> None:
    answer = await gateway.with_key(STRANGE).with_headers(x_api_key=STRANGE).post(path, ENDPOINTS[path])
    assert (answer.status_code, STRANGE in answer.text, STRANGE in str(answer.headers)) == (401, False, False)


@pytest.mark.parametrize(
    "key",
    ["schlüssel", "with a\nline", "a\x00b", "\ud83d\ude00", "k" * 4097, "k" * 100_000, " ", "\t"],
    ids=["latin", "line", "nul", "emoji", "4097 long", "100000 long", "blank", "tab"],
)
async def test_a_key_that_no_metadata_can_carry_is_an_invalid_key(gateway: Gateway, key: str) -> None:
    answer = await gateway.with_key(None).post("/users/alias/new", NEW | {"api_key": key})
    assert answer.status_code == 401


@pytest.mark.parametrize("header", [b"authorization", b"x-api-key"])
@pytest.mark.parametrize(
    "value", [b"Bearer \xfc\xe9", b"Bearer " + b"k" * 20_000, b"Bearer \xe2\x82\xac", b"Bearer a\tb"]
)
async def test_a_key_header_that_no_metadata_can_carry_is_an_invalid_key(
    gateway: Gateway, header: bytes, value: bytes
) -> None:
    answer = await gateway.client.post("/alias", json=ENDPOINTS["/alias"], headers={header: value})
    assert (answer.status_code, answer.json()["error_code"]) == (401, "invalid-api-key")


@pytest.mark.parametrize(
    ("path", "given"),
    [*((path, "a") for path in (*ENDPOINTS, f"{CONNECT}/Resolve")), ("/alias", "A-z_0.9"), ("/alias", "x" * 64)],
)
async def test_a_request_id_comes_back(gateway: Gateway, path: str, given: str) -> None:
    answer = await gateway.with_headers(x_request_id=given).post(path, ENDPOINTS.get(path, {}))
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a/b", "é", "x" * 20_000], ids=lambda given: str(given)[:8])
async def test_a_request_id_that_is_not_good_is_replaced(gateway: Gateway, given: str) -> None:
    sent = {b"x-request-id": given.encode(), b"authorization": f"Bearer {gateway.key}".encode()}
    answer = await gateway.client.post("/v1/users", json={"user_id": "u"}, headers=sent)
    assert (answer.status_code, bool(UUID.fullmatch(answer.headers["x-request-id"]))) == (200, True)


async def test_a_request_without_an_id_gets_one_of_its_own(gateway: Gateway) -> None:
    answers = [await gateway.post("/v1/users", {"user_id": "u"}) for _ in range(2)]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert (bool(UUID.fullmatch(first)), first == second) == (True, False)


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/users", b"{", 400),
        ("POST", "/alias", b"", 400),
        ("POST", "/users/identify", b"[]", 400),
        ("POST", f"{CONNECT}/Resolve", b"[]", 400),
        ("POST", f"{CONNECT}/Nothing", b"{}", 501),
        ("POST", "/nowhere", b"{}", 404),
        ("GET", "/v1/users", None, 405),
    ],
)
async def test_a_request_id_comes_back_though_no_call_was_made(
    gateway: Gateway, method: str, path: str, content: bytes | None, status: int
) -> None:
    answer = await gateway.send(method, path, content, x_request_id="abc")
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "abc")


async def test_the_request_id_is_the_one_in_the_journal(gateway: Gateway) -> None:
    await gateway.with_headers(x_request_id="written-down").post("/v1/users", {"user_id": "u"})
    rows = gateway.server.rows("SELECT count(*) FROM journal WHERE request = 'written-down'")
    assert rows == [(1,)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/users/aliases", "["),
        ("/v1/users/aliases", {"user_id": 7}),
        ("/v1/users", []),
        ("/alias", {"distinct_id": "u"}),
        ("/alias", [{"distinct_id": "u", "alias_id": "a", "environment": "staging"}]),
        ("/identify", {}),
        ("/users/alias/new", {"user_aliases": [7]}),
        ("/users/identify", {"aliases_to_identify": {}}),
        (f"{CONNECT}/Alias", {"user_id": 7}),
        (f"{CONNECT}/Alias", []),
    ],
)
@pytest.mark.parametrize("key", [None, "aka_unknown"], ids=["no key", "a bad key"])
async def test_the_shape_is_looked_at_before_the_key(gateway: Gateway, path: str, body: Any, key: str | None) -> None:
    content = body.encode() if isinstance(body, str) else None
    client = gateway.with_key(key)
    answer = await (client.send("POST", path, content) if content else client.post(path, body))
    assert answer.status_code == 400


WRONG_VALUES: list[tuple[str, Any]] = [
    ("/v1/users/aliases", {}),
    ("/v1/users/aliases", {"user_id": "u", "alias_id": "a\u0000"}),
    ("/v1/users/aliases", {"primary_user_id": "no uuid", "alias_id": "a"}),
    ("/v1/users", {"user_id": "null"}),
    ("/alias", []),
    ("/alias", [{"distinct_id": "u", "alias_id": "a"}] * 101),
    ("/alias", {"distinct_id": "u", "alias_id": "null"}),
    ("/identify", {"distinct_id": "null"}),
    ("/users/alias/new", {"user_aliases": []}),
    ("/users/identify", {"aliases_to_identify": [{}] * 51}),
    (f"{CONNECT}/Resolve", {"identifiers": []}),
    (f"{CONNECT}/Alias", {"merge_policy": 99}),
]


@pytest.mark.parametrize(("path", "body"), WRONG_VALUES)
async def test_the_key_is_looked_at_before_values_and_batch_sizes(gateway: Gateway, path: str, body: Any) -> None:
    assert (await gateway.with_key(None).post(path, body)).status_code == 401


@pytest.mark.parametrize(("path", "body"), WRONG_VALUES)
async def test_the_permission_is_looked_at_before_values_and_batch_sizes(
    gateway: Gateway, path: str, body: Any
) -> None:
    assert (await gateway.with_only("keys.admin").post(path, body)).status_code == 403


@pytest.mark.parametrize(("path", "body"), WRONG_VALUES)
async def test_the_limit_is_looked_at_before_values_and_batch_sizes(limited: Gateway, path: str, body: Any) -> None:
    await limited.use_up()
    assert (await limited.post(path, body)).status_code == 429


async def test_the_permission_is_looked_at_before_the_limit(limited: Gateway) -> None:
    reader = limited.with_only("profiles.read")
    for _ in range(4):
        await reader.call("Resolve", {"identifiers": [{"id": "a"}]})
    assert (await reader.post("/v1/users", {"user_id": "u"})).status_code == 403


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", None]
)
async def test_a_content_type_of_json_or_none_is_taken(gateway: Gateway, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content_type": content_type}
    answer = await gateway.send("POST", "/v1/users", b'{"user_id":"u"}', **headers)
    assert answer.status_code == 200
