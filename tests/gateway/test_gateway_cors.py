"""Pages in a browser: who may call, and what of the answers they may read (CORS)."""

import httpx
import pytest

from tests.gateway.conftest import Serve
from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = "https://app.example.com"
OTHER = "https://other.example.com"

PATHS = [*ENDPOINTS, f"{CONNECT}/Resolve"]


async def preflight(gateway: Gateway, path: str, origin: str, headers: str) -> httpx.Response:
    """Ask what a browser asks before a page's call."""
    return await gateway.with_key(None).send(
        "OPTIONS",
        path,
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers=headers,
    )


@pytest.mark.parametrize("path", PATHS)
async def test_no_page_may_call_unless_it_is_set(gateway: Gateway, path: str) -> None:
    assert (await preflight(gateway, path, PAGE, "authorization")).status_code == 405
    answer = await gateway.with_headers(origin=PAGE).post(path, ENDPOINTS.get(path, {}))
    assert [name for name in answer.headers if name.startswith("access-control")] == []


async def test_a_page_of_a_named_origin_may_call_every_endpoint(serve: Serve) -> None:
    gateway = await serve(cors_origins=(PAGE, "http://localhost:3000"))
    for path in PATHS:
        asked = "authorization,connect-protocol-version,connect-timeout-ms,content-type,x-api-key,x-request-id"
        allowed = await preflight(gateway, path, PAGE, asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "POST" in allowed.headers["access-control-allow-methods"]
        answer = await gateway.with_headers(origin=PAGE).post(path, ENDPOINTS.get(path, {}))
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in answer.headers["vary"]


async def test_a_page_of_another_origin_may_not(serve: Serve) -> None:
    gateway = await serve(cors_origins=(PAGE,))
    assert (await preflight(gateway, "/alias", OTHER, "authorization")).status_code == 400
    answer = await gateway.with_headers(origin=OTHER).post("/alias", ENDPOINTS["/alias"])
    assert "access-control-allow-origin" not in answer.headers


async def test_a_star_lets_every_page_call_but_never_with_cookies(serve: Serve) -> None:
    gateway = await serve(cors_origins=("*",))
    answer = await gateway.with_headers(origin=OTHER).post("/alias", ENDPOINTS["/alias"])
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_may_read_every_header_that_aka_sends(serve: Serve, path: str) -> None:
    gateway = await serve(cors_origins=(PAGE,), rate_limit="1/day")
    page = gateway.with_headers(origin=PAGE)
    for _ in range(2):
        answer = await page.post(path, ENDPOINTS.get(path, {}))
    own = {name for name in answer.headers if name.startswith(("x-", "trailer-", "retry-"))}
    assert (answer.status_code, len(own) > 4) == (429, True)
    assert own <= set(answer.headers["access-control-expose-headers"].split(", "))


async def test_a_page_may_read_why_it_was_refused(serve: Serve) -> None:
    gateway = await serve(cors_origins=(PAGE,))
    page = gateway.with_headers(origin=PAGE)
    refused = [
        await page.with_key(None).post("/alias", ENDPOINTS["/alias"]),
        await page.send("POST", "/alias", b"{"),
        await page.send("POST", "/alias", b" " * (1024 * 1024 + 1)),
        await page.send("POST", "/nowhere", b"{}"),
    ]
    assert [answer.status_code for answer in refused] == [401, 400, 413, 404]
    assert {answer.headers["access-control-allow-origin"] for answer in refused} == {PAGE}
