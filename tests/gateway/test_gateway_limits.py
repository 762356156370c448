"""The rate limit as headers: on which answers, and what each request counts."""

from typing import Any

import httpx
import pytest

from aka.v1 import alias_service_pb2 as v1
from tests.gateway.conftest import NOW
from tests.gateway.served import CONNECT, ENDPOINTS, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDS = str(NOW + 20)


def standing(answer: httpx.Response) -> tuple[Any, ...]:
    return tuple(answer.headers.get(f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset"))


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_success_says_where_the_key_stands(limited: Gateway, path: str) -> None:
    answer = await limited.post(path, ENDPOINTS[path])
    assert standing(answer) == ("4", "3", ENDS)


async def test_the_headers_are_written_as_documented(limited: Gateway) -> None:
    raw = (await limited.post("/v1/users", {"user_id": "u"})).headers.raw
    assert {name.lower() for name, _ in raw} >= {b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/users/aliases", {"user_id": "nobody", "alias_id": "a"}, 404),
        ("/v1/users/aliases", {}, 400),
        ("/alias", {"distinct_id": "u", "alias_id": "null"}, 400),
        ("/users/alias/new", {"user_aliases": []}, 400),
        (f"{CONNECT}/Resolve", {"identifiers": [{}]}, 400),
    ],
)
async def test_a_refusal_says_where_the_key_stands(limited: Gateway, path: str, body: Any, status: int) -> None:
    answer = await limited.post(path, body)
    assert (answer.status_code, standing(answer)) == (status, ("4", "3", ENDS))


async def test_a_refusal_of_the_permission_says_where_the_key_stands_and_counts_nothing(limited: Gateway) -> None:
    answer = await limited.with_only("profiles.read").post("/v1/users", {"user_id": "u"})
    assert (answer.status_code, standing(answer)) == (403, ("4", "4", ENDS))


async def test_a_call_over_the_limit_says_where_the_key_stands(limited: Gateway) -> None:
    await limited.use_up()
    answer = await limited.post("/v1/users", {"user_id": "u"})
    assert (answer.status_code, standing(answer)) == (429, ("4", "0", ENDS))


async def test_a_call_over_the_limit_is_not_done(limited: Gateway) -> None:
    await limited.use_up()
    await limited.post("/v1/users", {"user_id": "u"})
    assert not [request for request in limited.trouble.seen if isinstance(request, v1.IdentifyRequest)]


@pytest.mark.parametrize("key", ["aka_unknown", None], ids=["unknown", "none"])
async def test_a_key_that_is_not_good_is_told_no_limit(limited: Gateway, key: str | None) -> None:
    answer = await limited.with_key(key).post("/v1/users", {"user_id": "u"})
    assert (answer.status_code, standing(answer)) == (401, (None, None, None))


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/users", b"{", 400),
        ("POST", "/alias", b'{"distinct_id": 7}', 400),
        ("POST", f"{CONNECT}/Resolve", b"[]", 400),
        ("POST", f"{CONNECT}/Nothing", b"{}", 501),
        ("POST", "/nowhere", b"{}", 404),
        ("GET", "/v1/users", None, 405),
        ("GET", "/healthz", None, 200),
    ],
)
async def test_an_answer_that_made_no_call_tells_no_limit(
    limited: Gateway, method: str, path: str, content: bytes | None, status: int
) -> None:
    answer = await limited.send(method, path, content)
    assert (answer.status_code, standing(answer)) == (status, (None, None, None))


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_without_a_limit_nothing_is_said_of_one(gateway: Gateway, path: str) -> None:
    answer = await gateway.post(path, ENDPOINTS[path])
    assert standing(answer) == (None, None, None)


@pytest.mark.parametrize(
    ("path", "body", "cost"),
    [
        ("/alias", [{"distinct_id": "u", "alias_id": f"a{number}"} for number in range(4)], 4),
        ("/identify", {"distinct_id": "u"}, 1),
        ("/identify", {"distinct_id": "u", "anonymous_id": "null"}, 1),
        ("/users/alias/new", {"user_aliases": [{}, {}, {}]}, 3),
        ("/users/identify", {"aliases_to_identify": [{}, {}]}, 2),
        (f"{CONNECT}/Resolve", {"identifiers": [{"id": "a"}, {"id": "b"}]}, 1),
        (f"{CONNECT}/BatchAlias", {"requests": [{}, {}]}, 2),
    ],
)
async def test_a_batch_counts_one_an_item_and_all_else_one(limited: Gateway, path: str, body: Any, cost: int) -> None:
    assert standing(await limited.post(path, body))[1] == str(4 - cost)


async def test_a_batch_larger_than_the_limit_passes_on_an_untouched_window_and_uses_it_up(limited: Gateway) -> None:
    answer = await limited.post("/alias", [{"distinct_id": "u", "alias_id": f"a{number}"} for number in range(5)])
    assert (answer.status_code, standing(answer)[1]) == (200, "0")


async def test_a_batch_larger_than_the_limit_is_refused_on_a_touched_window(limited: Gateway) -> None:
    await limited.post("/v1/users", {"user_id": "u"})
    answer = await limited.post("/alias", [{"distinct_id": "u", "alias_id": f"a{number}"} for number in range(5)])
    assert (answer.status_code, standing(answer)[1]) == (429, "3")
