"""The OpenAPI document: valid, complete, and as the gateway is. (`described.py` holds every answer against it.)"""

from typing import Any

import httpx
import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from aka.server.gateway import connect
from aka.server.gateway.app import DIALECTS, routes
from aka.server.gateway.openapi import PROTOS
from aka.server.gateway.proto_comments import comments
from aka.server.gateway.refusal import HTTP_STATUS
from tests.gateway.described import DOCUMENT, check_described, check_sent
from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPERATIONS = {
    path: operation
    for path, methods in DOCUMENT["paths"].items()
    for operation in methods.values()
    if "post" in methods
}
"""Every endpoint that takes a body."""

OF_EVERY_CALL = {400, 401, 403, 408, 413, 415, 429, 431, 500, 503}
OF_THE_PROTOCOL = {404, 409, 499, 501, 504}

STATUSES = {
    "/v1/users/aliases": {200, 404, 409},
    "/users/aliases": {200, 404, 409},
    "/v1/users": {200, 409},
    "/users": {200, 409},
    "/alias": {200},
    "/identify": {200},
    "/track": {200},
    "/users/alias/new": {201},
    "/users/identify": {201},
    "/users/track": {201},
    "/users/export/ids": {201},
} | {
    f"/{service}/{name}": {200} | OF_THE_PROTOCOL for service in connect.SERVICES for name in connect.SERVICES[service]
}


async def test_the_document_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


async def test_the_document_is_served_without_a_key(gateway: Gateway) -> None:
    answer = await gateway.with_key(None).send("GET", "/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == DOCUMENT


async def test_the_document_has_every_path_of_the_gateway_and_no_other() -> None:
    async def ready() -> bool:
        return True

    paths = set()
    for route in routes(object(), object(), ready):  # type: ignore[arg-type]
        methods = {method.lower() for method in route.methods if method != "HEAD"}
        service = route.path.removesuffix("/{method}").removeprefix("/")
        names = [route.path.format(method=name) for name in connect.SERVICES.get(service, [""])]
        paths |= {(name, method) for name in names for method in methods}
    assert paths == {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}


@pytest.mark.parametrize("path", OPERATIONS)
async def test_an_endpoint_has_each_status_that_it_may_answer(path: str) -> None:
    assert {int(status) for status in OPERATIONS[path]["responses"]} == OF_EVERY_CALL | STATUSES[path]


@pytest.mark.parametrize("path", OPERATIONS)
async def test_an_example_fits_its_schema(path: str) -> None:
    content = OPERATIONS[path]["requestBody"]["content"]["application/json"]
    request = httpx.Request("POST", f"http://aka{path}", json=content["example"])
    check_sent(request, OPERATIONS[path])


@pytest.mark.parametrize("path", [path for path in OPERATIONS if path.startswith((*ENDPOINTS, "/users", CONNECT))])
async def test_an_example_is_done(gateway: Gateway, path: str) -> None:
    await gateway.identified("user_123")
    content = OPERATIONS[path]["requestBody"]["content"]["application/json"]
    assert (await gateway.post(path, content["example"])).is_success


async def test_every_element_of_the_contract_is_described() -> None:
    for service, methods in connect.SERVICES.items():
        file = next(asked.DESCRIPTOR.file for asked, _ in methods.values())
        said = comments((PROTOS / file.name).read_text(encoding="utf-8"))
        messages, enums = file.message_types_by_name.values(), file.enum_types_by_name.values()
        names = {service, *(f"{service}.{method}" for method in methods)}
        names |= {element.full_name for message in messages for element in (message, *message.fields)}
        names |= {enum.full_name for enum in enums}
        names |= {f"{enum.full_name}.{value.name}" for enum in enums for value in enum.values}
        assert {name for name in names if not said.get(name)} == set()


async def test_every_operation_has_a_summary_and_an_id_of_its_own() -> None:
    operations = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert all(operation["summary"].endswith(".") for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


async def test_every_reason_of_a_dialects_error_has_a_response() -> None:
    statuses = {status for status in HTTP_STATUS.values() if f"Appizer{status}" in DOCUMENT["components"]["responses"]}
    assert statuses == set(HTTP_STATUS.values())
    assert {dialect.NAME for dialect in DIALECTS} == {"Appizer", "Altertable", "Braze"}


GOOD = {"success": True, "alias_id": "a", "user_id": "u", "message": "Alias created"}

WRONG: dict[str, tuple[int, dict[str, str], Any]] = {
    "another field": (200, {"x-request-id": "r"}, GOOD | {"more": 1}),
    "a field too few": (200, {"x-request-id": "r"}, {"success": True}),
    "another type": (200, {"x-request-id": "r"}, GOOD | {"user_id": 7}),
    "no request id": (200, {}, GOOD),
    "another header": (200, {"x-request-id": "r", "x-more": "1"}, GOOD),
    "a header of another form": (200, {"x-request-id": "r", "x-ratelimit-limit": "-1"}, GOOD),
    "another status": (201, {"x-request-id": "r"}, GOOD),
    "a code of another status": (
        409,
        {"x-request-id": "r"},
        {"error": "Conflict", "message": "m", "code": "USER_NOT_FOUND", "details": {}},
    ),
    "no time to wait": (
        503,
        {"x-request-id": "r"},
        {"error": "Unavailable", "message": "m", "code": "SERVICE_UNAVAILABLE", "details": {}},
    ),
}


def answered(status: int, headers: dict[str, str], body: Any) -> httpx.Response:
    request = httpx.Request("POST", "http://aka/v1/users/aliases", json={"user_id": "u", "alias_id": "a"})
    return httpx.Response(status, headers=headers, json=body, request=request)


async def test_an_answer_as_described_passes_the_check() -> None:
    await check_described(answered(200, {"x-request-id": "r"}, GOOD))


@pytest.mark.parametrize(("status", "headers", "body"), WRONG.values(), ids=WRONG.keys())
async def test_an_answer_that_is_not_as_described_fails_the_check(
    status: int, headers: dict[str, str], body: Any
) -> None:
    with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
        await check_described(answered(status, headers, body))


async def test_the_page_loads_nothing_and_runs_nothing(gateway: Gateway) -> None:
    answer = await gateway.with_key(None).send("GET", "/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert [word for word in ("<script", "<link", "<img", "@import", "url(", "src=") if word in answer.text] == []


async def test_the_page_shows_every_path_and_every_message(gateway: Gateway) -> None:
    page = (await gateway.send("GET", "/docs")).text
    assert [path for path in DOCUMENT["paths"] if f"<code>{path}</code>" not in page] == []
    assert [name for name in DOCUMENT["components"]["schemas"] if f'id="{name}"' not in page] == []


async def test_the_pages_links_lead_somewhere(gateway: Gateway) -> None:
    page = (await gateway.send("GET", "/docs")).text
    places = [link.split('"')[0] for link in page.split('href="')[1:]]
    assert {place for place in places if not place.startswith("#")} == {"/openapi.json"}
    assert {place for place in places if place.startswith("#") and f'id="{place[1:]}"' not in page} == set()
