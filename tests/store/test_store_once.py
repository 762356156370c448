"""A `request_id` gets its first OK answer again for 24 hours."""

import asyncio
import hashlib
from typing import Any

import pytest

from aka.server.domain.graph import Decision
from aka.server.errors import AkaError
from aka.server.store.store import ANSWERS_ARE_KEPT_FOR, AnsweredBefore, Once
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, identify
from tests.store.clock import Clock
from tests.store.tenant import Tenant

FIRST = bytes(15) + b"\x01"
SECOND = bytes(15) + b"\x02"


def once(request_id: bytes = FIRST, method: str = "Identify", body: bytes = b"body") -> Once:
    """Keep the answer of a call that has no refusal: its profile id."""

    def keep(results: list[Any]) -> bytes | None:
        return None if isinstance(results[0], AkaError) else bytes(results[0].profile_id)

    return Once(request_id, method, hashlib.sha256(body).digest(), keep)


async def answered_before(tenant: Tenant, decision: Decision[Any], how: Once) -> bytes:
    """Ask again, and return the answer that was kept."""
    with pytest.raises(AnsweredBefore) as before:
        await tenant.batch(decision, once=how)
    return before.value.answer


async def test_a_repeated_call_gets_the_first_answer_again(tenant: Tenant) -> None:
    [made] = await tenant.batch(identify("ann"), once=once())
    for _ in range(3):
        assert await answered_before(tenant, identify("ann"), once()) == made.profile_id


async def test_a_repeated_call_is_not_done_again(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), once=once())
    before = await tenant.page("ann")
    await answered_before(tenant, alias("ann", "card"), once())
    assert await tenant.page("ann") == before
    assert await tenant.whose("card") == [None]


@pytest.mark.parametrize(
    "other", [once(method="Alias"), once(body=b"other")], ids=["with another method", "with another body"]
)
async def test_a_request_id_that_comes_again_is_refused(tenant: Tenant, other: Once) -> None:
    await tenant.batch(identify("ann"), once=once())
    with pytest.raises(AkaError) as refusal:
        await tenant.batch(identify("bob"), once=other)
    assert (refusal.value.name, refusal.value.field) == ("REQUEST_ID_REUSED", "request_id")
    assert await tenant.whose("bob") == [None]


async def test_a_refused_reuse_leaves_the_first_answer(tenant: Tenant) -> None:
    [made] = await tenant.batch(identify("ann"), once=once())
    with pytest.raises(AkaError):
        await tenant.batch(identify("bob"), once=once(body=b"other"))
    assert await answered_before(tenant, identify("ann"), once()) == made.profile_id


async def test_an_answer_that_is_not_ok_is_not_kept(tenant: Tenant) -> None:
    [refused] = await tenant.batch(alias("ann", "card"), once=once())
    assert refused.name == "USER_NOT_FOUND"
    await tenant.do(identify("ann"))
    [linked] = await tenant.batch(alias("ann", "card"), once=once())
    assert linked.outcome == v1.OUTCOME_LINKED


async def test_a_request_id_whose_call_was_refused_may_come_with_another_body(tenant: Tenant) -> None:
    await tenant.batch(alias("ann", "card"), once=once())
    [made] = await tenant.batch(identify("ann"), once=once(body=b"other"))
    assert made.outcome == v1.OUTCOME_CREATED


async def test_other_request_ids_and_calls_without_one_are_done(tenant: Tenant) -> None:
    results = await asyncio.gather(
        tenant.batch(identify("ann"), once=once()),
        tenant.batch(identify("ann"), once=once(SECOND)),
        tenant.batch(identify("ann")),
    )
    assert [result[0].outcome for result in results] == [
        v1.OUTCOME_CREATED,
        v1.OUTCOME_ALREADY_LINKED,
        v1.OUTCOME_ALREADY_LINKED,
    ]


async def test_calls_with_one_request_id_that_come_at_once_are_done_once(tenant: Tenant) -> None:
    results = await asyncio.gather(
        *(tenant.batch(identify("ann"), once=once()) for _ in range(20)), return_exceptions=True
    )
    [done] = [result for result in results if isinstance(result, list)]
    repeated = [result.answer for result in results if isinstance(result, AnsweredBefore)]
    assert done[0].outcome == v1.OUTCOME_CREATED
    assert repeated == [done[0].profile_id] * 19


async def test_calls_of_one_request_id_and_other_bodies_that_come_at_once_are_done_once(tenant: Tenant) -> None:
    results = await asyncio.gather(
        *(tenant.batch(identify(f"user-{n}"), once=once(body=bytes([n]))) for n in range(20)), return_exceptions=True
    )
    assert len([result for result in results if isinstance(result, list)]) == 1
    assert len([result for result in results if isinstance(result, AkaError)]) == 19
    assert len([profile for profile in await tenant.whose(*(f"user-{n}" for n in range(20))) if profile]) == 1


async def test_a_repeated_call_does_not_disturb_the_calls_beside_it(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), once=once())
    calls = tenant.batch(identify("ann"), once=once()), tenant.batch(identify("bob"))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], AnsweredBefore)
    assert isinstance(results[1], list)
    assert await tenant.whose("bob") == [results[1][0].profile_id]


async def test_a_request_id_is_one_workspaces_own(tenant: Tenant, other_tenant: Tenant) -> None:
    [mine] = await tenant.batch(identify("ann"), once=once())
    [theirs] = await other_tenant.batch(identify("ann"), once=once(body=b"other"))
    assert theirs.outcome == v1.OUTCOME_CREATED
    assert await answered_before(tenant, identify("ann"), once()) == mine.profile_id
    assert await answered_before(other_tenant, identify("ann"), once(body=b"other")) == theirs.profile_id


async def test_an_answer_is_kept_until_24_hours_have_passed(tenant: Tenant, clock: Clock) -> None:
    [made] = await tenant.batch(identify("ann"), once=once())
    clock.now += ANSWERS_ARE_KEPT_FOR - 1
    await tenant.do(identify("bob"))
    assert await answered_before(tenant, identify("ann"), once()) == made.profile_id


async def test_an_answer_is_forgotten_when_24_hours_have_passed(tenant: Tenant, clock: Clock) -> None:
    await tenant.batch(identify("ann"), once=once())
    clock.now += ANSWERS_ARE_KEPT_FOR
    [again] = await tenant.batch(identify("bob"), once=once(body=b"other"))
    assert again.outcome == v1.OUTCOME_CREATED


async def test_a_forgotten_request_id_keeps_its_new_answer(tenant: Tenant, clock: Clock) -> None:
    await tenant.batch(identify("ann"), once=once())
    clock.now += ANSWERS_ARE_KEPT_FOR
    [again] = await tenant.batch(identify("bob"), once=once())
    clock.now += ANSWERS_ARE_KEPT_FOR - 1
    assert await answered_before(tenant, identify("bob"), once()) == again.profile_id


async def test_more_answers_than_are_forgotten_at_a_time_are_all_forgotten(tenant: Tenant, clock: Clock) -> None:
    def number(n: int) -> Once:
        return once(n.to_bytes(16))

    await asyncio.gather(*(tenant.batch(identify("ann"), once=number(n)) for n in range(1500)))
    clock.now += ANSWERS_ARE_KEPT_FOR
    results = await asyncio.gather(*(tenant.batch(identify("ann"), once=number(n)) for n in range(1500)))
    assert {result[0].outcome for result in results} == {v1.OUTCOME_ALREADY_LINKED}
