"""Paths and methods that there are, and those that there are not."""

import pytest

from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        "/v1",
        "/v1/alias",
        "/v2/users",
        "/V1/USERS",
        "/v1/users/aliases/legacy_999",
        "/users/alias",
        "/aka.v1.AliasService",
        "/aka.v1.AliasService/Alias/more",
        "/aka.v1.Other/Alias",
        "/../etc/passwd",
        "/%00",
        "/%ED%A0%80",
        "/%ff",
        "/a%2Fb",
    ],
)
async def test_an_unknown_path_is_not_found_in_appizers_shape(gateway: Gateway, method: str, path: str) -> None:
    answer = await gateway.send(method, path)
    shown = answer.json()
    assert (answer.status_code, shown["error"], shown["code"]) == (404, "Not Found", "NOT_FOUND")
    assert (sorted(shown), shown["details"]) == (["code", "details", "error", "message"], {})


@pytest.mark.parametrize("path", [*ENDPOINTS, "/healthz", f"{CONNECT}/Alias"])
async def test_a_path_with_a_slash_too_many_is_not_found(gateway: Gateway, path: str) -> None:
    answer = await gateway.send("POST", f"{path}/", b"{}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", [*ENDPOINTS, "/users", "/users/aliases", f"{CONNECT}/Alias", f"{CONNECT}/Nothing"])
async def test_an_unknown_method_is_not_allowed_in_appizers_shape(gateway: Gateway, method: str, path: str) -> None:
    answer = await gateway.send(method, path)
    shown = answer.json()
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (shown["error"], shown["code"], shown["details"]) == ("Method Not Allowed", "METHOD_NOT_ALLOWED", {})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_post_to_a_health_check_is_not_allowed(gateway: Gateway, path: str) -> None:
    answer = await gateway.send("POST", path, b"{}")
    assert (answer.status_code, sorted(answer.headers["allow"].split(", "))) == (405, ["GET", "HEAD"])


async def test_a_head_request_gets_no_body(gateway: Gateway) -> None:
    answer = await gateway.send("HEAD", "/v1/users")
    assert (answer.status_code, answer.content) == (405, b"")


@pytest.mark.parametrize("host", ["[", "a b", "", "x" * 5000, "[::1", "exa mple:99999999", "%"])
async def test_a_host_header_of_rubbish_changes_nothing(gateway: Gateway, host: str) -> None:
    answer = await gateway.send("GET", "/nowhere", host=host)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_a_query_is_ignored(gateway: Gateway) -> None:
    answer = await gateway.post("/v1/users?user_id=other", {"user_id": "u"})
    assert answer.json()["external_id"] == "u"


async def test_the_gateway_is_alive_without_a_key(gateway: Gateway) -> None:
    answer = await gateway.with_key(None).send("GET", "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_the_gateway_is_ready_while_what_is_behind_it_is(gateway: Gateway) -> None:
    answer = await gateway.with_key(None).send("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_the_gateway_is_not_ready_while_what_is_behind_it_is_not(gateway: Gateway) -> None:
    gateway.readiness.clear()
    answer = await gateway.with_key(None).send("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


async def test_the_gateway_is_alive_though_what_is_behind_it_is_not_ready(gateway: Gateway) -> None:
    gateway.readiness.clear()
    assert (await gateway.send("GET", "/healthz")).status_code == 200
