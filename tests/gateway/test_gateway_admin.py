"""AdminService as JSON: the Connect protocol's unary form."""

from typing import Any, Final

import httpx
import pytest
from google.protobuf import json_format

from aka.server.gateway import connect
from aka.server.methods import ADMIN_METHODS, ADMIN_SERVICE
from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADMIN: Final = f"/{ADMIN_SERVICE}"

NEW: Final[dict[str, Any]] = {
    "name": "crm",
    "permissions": ["profiles.read", "aliases.write", "profiles.merge"],
}


async def call(gateway: Gateway, method: str, body: Any) -> httpx.Response:
    return await gateway.post(f"{ADMIN}/{method}", body)


async def done(gateway: Gateway, method: str, body: Any) -> Any:
    answer = await call(gateway, method, body)
    assert answer.status_code == 200, answer.text
    json_format.ParseDict(answer.json(), ADMIN_METHODS[method].response())
    return answer.json()


async def test_the_gateway_has_every_rpc() -> None:
    assert connect.SERVICES[ADMIN_SERVICE].keys() == ADMIN_METHODS.keys()


async def test_every_rpc_answers_json(gateway: Gateway) -> None:
    made = await done(gateway, "CreateKey", NEW | {"expiresAt": "2999-12-31T23:59:59.5Z"})
    assert made["key"]["expiresAt"] == "2999-12-31T23:59:59.500Z"
    assert made["key"]["keyId"] in str(await done(gateway, "ListKeys", {}))
    assert "revokedAt" in (await done(gateway, "RevokeKey", {"key_id": made["key"]["keyId"]}))["key"]
    name = f"{gateway.workspace}-new"
    assert (await done(gateway, "CreateWorkspace", {"name": name}))["workspace"]["name"] == name
    assert "default" in str(await done(gateway, "ListWorkspaces", {"page_size": 1000}))


async def test_a_revoked_key_is_refused_at_once_on_every_path(gateway: Gateway) -> None:
    made = await done(gateway, "CreateKey", NEW)
    client = gateway.with_key(made["secret"])
    paths = [*ENDPOINTS.items(), (f"{CONNECT}/Resolve", {"identifiers": [{"id": "u"}]})]
    assert 401 not in [(await client.post(path, body)).status_code for path, body in paths]
    await done(gateway, "RevokeKey", {"key_id": made["key"]["keyId"]})
    assert {(await client.post(path, body)).status_code for path, body in paths} == {401}


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (NEW | {"expires_at": 7}, "invalid_argument", 400),
        (NEW | {"expires_at": {}}, "invalid_argument", 400),
        (NEW | {"expires_at": "tomorrow"}, "invalid_argument", 400),
        (NEW | {"permissions": "operator"}, "invalid_argument", 400),
        (NEW | {"permissions": [1]}, "invalid_argument", 400),
        (NEW | {"workspace": "nobodys"}, "not_found", 404),
    ],
    ids=repr,
)
async def test_a_bad_request_is_refused(gateway: Gateway, body: Any, code: str, status: int) -> None:
    answer = await call(gateway, "CreateKey", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_call_needs_a_key_that_may(gateway: Gateway) -> None:
    assert (await call(gateway.with_key(None), "ListKeys", {})).status_code == 401
    assert (await call(gateway.with_only("profiles.read"), "ListKeys", {})).status_code == 403


async def test_a_method_of_another_service_is_unimplemented(gateway: Gateway) -> None:
    for answer in (await call(gateway, "Resolve", {}), await gateway.call("ListKeys", {})):
        assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
