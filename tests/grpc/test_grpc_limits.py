"""The rate limit: how calls count, what the caller is told, and its windows on the clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from aka.server.limits import Limiter, RateLimit, RateLimited
from tests.grpc.wire import Wire, serving, wire_to

START = 1_000_000_000.0
"""The beginning of a second, 40 s into a minute."""

Serve = Callable[[str], Awaitable[Wire]]


def identify(count: int) -> dict[str, Any]:
    return {"aliases_to_identify": [{"external_id": f"u{number}"} for number in range(count)]}


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def limited(tmp_path: Path, clock: Clock) -> AsyncIterator[Serve]:
    """Serve under a limit on a clock that stands still."""
    async with AsyncExitStack() as stack:

        async def serve(rate_limit: str) -> Wire:
            server = await stack.enter_async_context(serving(tmp_path / "aka.db", rate_limit=rate_limit, clock=clock))
            return await stack.enter_async_context(wire_to(server))

        yield serve


async def left_after(wire: Wire, method: str, body: dict[str, Any]) -> str:
    return str((await wire.send(method, body)).trailers["x-ratelimit-remaining"])


async def test_a_call_over_the_limit_is_refused_with_what_to_wait(limited: Serve, clock: Clock) -> None:
    wire = await limited("2/minute")
    for _ in range(2):
        await wire("Resolve", {"identifiers": [{"id": "u"}]})
    refusal = await wire.refused("Resolve", {"identifiers": [{"id": "u"}]})
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert refusal.metadata == {"limit": "2", "window": "minute", "retry_after": "20"}
    assert refusal.retry is not None
    assert refusal.retry.retry_delay.seconds == 20


async def test_every_answer_says_where_the_key_stands(limited: Serve) -> None:
    wire = await limited("5/minute")
    reply = await wire.send("Identify", identify(3))
    assert {name: value for name, value in reply.trailers.items() if name.startswith("x-ratelimit")} == {
        "x-ratelimit-limit": "5",
        "x-ratelimit-remaining": "2",
        "x-ratelimit-reset": str(int(START) + 20),
    }


@pytest.mark.parametrize(
    "body", [{"user_id": "nobody", "alias_id": "a"}, {}, b"\xff\xff"], ids=["not found", "missing", "malformed"]
)
async def test_a_refusal_says_where_the_key_stands_too(limited: Serve, body: Any) -> None:
    refusal = await (await limited("5/minute")).refused("Alias", body)
    assert refusal.trailers["x-ratelimit-limit"] == "5"


async def test_a_refusal_of_the_permission_says_where_the_key_stands_and_counts_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "aka.db", rate_limit="5/day") as server, wire_to(server) as wire:
        refusal = await wire.with_key(server.add_key("profiles.read")).refused("Alias", {})
    assert refusal.trailers["x-ratelimit-remaining"] == "5"


async def test_a_call_over_the_limit_says_where_the_key_stands(limited: Serve) -> None:
    wire = await limited("3/minute")
    await wire("Identify", identify(2))
    refusal = await wire.refused("Identify", identify(2))
    assert refusal.trailers["x-ratelimit-remaining"] == "1"


async def test_an_unknown_key_is_told_no_limit(limited: Serve) -> None:
    wire = await limited("5/minute")
    refusal = await wire.with_key("nobody").refused("Resolve", {})
    assert "x-ratelimit-limit" not in refusal.trailers


async def test_without_a_limit_nothing_is_said_of_one(limited: Serve) -> None:
    wire = await limited("off")
    assert "x-ratelimit-limit" not in (await wire.send("Identify", identify(1))).trailers


@pytest.mark.parametrize(
    ("method", "body", "cost"),
    [
        ("Alias", {"user_id": "u", "alias_id": "a", "create_missing": True}, 1),
        ("BatchAlias", {"requests": [{}, {}, {}]}, 3),
        ("CreateAliases", {"user_aliases": [{}, {}, {}, {}]}, 4),
        ("Identify", identify(2), 2),
        ("Identify", {"aliases_to_identify": [{}, {}, {}]}, 3),
        ("Resolve", {"identifiers": [{"id": "u"}] * 9}, 1),
        ("DeleteAlias", {"id": "a", "allow_missing": True}, 1),
    ],
)
async def test_a_call_counts_one_and_a_batch_one_an_item(
    limited: Serve, method: str, body: dict[str, Any], cost: int
) -> None:
    wire = await limited("100/minute")
    assert await left_after(wire, method, body) == str(100 - cost)


async def test_an_item_and_the_same_without_its_subject_count_one(limited: Serve) -> None:
    wire = await limited("100/minute")
    items = [{"external_id": "u", "anonymous_id": "anon"}, {"external_id": "u"}]
    assert await left_after(wire, "Identify", {"aliases_to_identify": items}) == "99"


async def test_get_profile_counts_one(limited: Serve) -> None:
    wire = await limited("100/minute")
    await wire.identify("u")
    assert await left_after(wire, "GetProfile", {"identifier": {"id": "u"}}) == "98"


async def test_validate_only_counts_like_the_call(limited: Serve) -> None:
    wire = await limited("100/minute")
    assert await left_after(wire, "Identify", identify(3) | {"validate_only": True}) == "97"


async def test_a_batch_larger_than_the_limit_passes_on_an_untouched_window_and_uses_it_up(limited: Serve) -> None:
    wire = await limited("2/minute")
    assert await left_after(wire, "Identify", identify(5)) == "0"
    assert (await wire.refused("Resolve", {"identifiers": [{"id": "u"}]})).reason == "RATE_LIMITED"


async def test_a_batch_larger_than_the_limit_is_refused_on_a_touched_window(limited: Serve) -> None:
    wire = await limited("3/minute")
    await wire("Identify", identify(1))
    assert (await wire.refused("Identify", identify(5))).reason == "RATE_LIMITED"


async def test_what_was_refused_by_the_limit_was_not_done(limited: Serve, clock: Clock) -> None:
    wire = await limited("1/minute")
    await wire("Identify", identify(1))
    await wire.refused("Alias", {"user_id": "u0", "alias_id": "a"})
    clock.now += 20
    assert await wire.profile_of("a") == ""


async def test_the_next_window_begins_on_the_clock(limited: Serve, clock: Clock) -> None:
    wire = await limited("1/minute")
    await wire("Identify", identify(1))
    clock.now += 19.9
    assert (await wire.refused("Identify", identify(1))).metadata["retry_after"] == "1"
    clock.now += 0.1
    assert await left_after(wire, "Identify", identify(1)) == "0"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1/second", RateLimit(1, "second")),
        ("600000/minute", RateLimit(600000, "minute")),
        ("7/hour", RateLimit(7, "hour")),
        ("7/day", RateLimit(7, "day")),
    ],
)
def test_a_limit_is_written_as_calls_a_window(text: str, limit: RateLimit) -> None:
    assert RateLimit.parse(text) == limit


@pytest.mark.parametrize(
    "text", ["", "5", "/minute", "0/minute", "-1/minute", "5/week", "5/", "5 /minute", "٣/day", "1e3/day"]
)
def test_what_is_no_limit_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError):
        RateLimit.parse(text)


@pytest.mark.parametrize(("window", "ends"), [("second", 1), ("minute", 20), ("hour", 800), ("day", 80_000)])
def test_a_window_ends_with_its_second_minute_hour_or_day(window: str, ends: int) -> None:
    standing = Limiter(RateLimit(5, window), Clock()).take(b"key", 1)
    assert standing.reset - START == ends


def test_every_key_has_its_own_window() -> None:
    limiter = Limiter(RateLimit(1, "minute"), Clock())
    limiter.take(b"one", 1)
    assert limiter.take(b"two", 1).remaining == 0


def test_a_refused_call_counts_nothing() -> None:
    limiter = Limiter(RateLimit(3, "minute"), Clock())
    limiter.take(b"key", 2)
    with pytest.raises(RateLimited, match="1 of its 3 calls a minute left, and this call counts 2; wait 20 s"):
        limiter.take(b"key", 2)
    assert limiter.take(b"key", 1).remaining == 0


@pytest.mark.parametrize("now", [START + 20, START + 79.999], ids=["its first moment", "its last moment"])
def test_a_window_has_its_first_moment_and_its_last(now: float) -> None:
    limiter = Limiter(RateLimit(5, "minute"), Clock(now))
    limiter.take(b"key", 1)
    assert limiter.standing(b"key") == limiter.standing(b"key") == (5, 4, int(START) + 80)
    assert limiter.take(b"key", 1) == (5, 3, int(START) + 80)


def test_where_a_key_stands_is_told_of_the_window_that_is_now() -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(5, "minute"), clock)
    limiter.take(b"key", 1)
    clock.now += 20
    assert limiter.standing(b"key") == (5, 5, int(START) + 80)


def test_a_clock_that_was_set_back_begins_a_new_window() -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(1, "minute"), clock)
    limiter.take(b"key", 1)
    clock.now -= 3600
    assert limiter.take(b"key", 1).reset == int(START) + 20 - 3600


def test_a_limit_of_a_second_waits_a_whole_second_at_least() -> None:
    clock = Clock(START + 0.999)
    limiter = Limiter(RateLimit(1, "second"), clock)
    limiter.take(b"key", 1)
    with pytest.raises(RateLimited) as refused:
        limiter.take(b"key", 1)
    assert refused.value.retry_after == 1
