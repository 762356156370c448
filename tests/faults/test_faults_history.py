"""The checker itself: it must see what the fault tests look for."""

from collections.abc import Sequence

import pytest

from aka.v1 import alias_service_pb2 as v1
from tests.faults.history import Family, History, Kind, Refusal, State, Step
from tests.faults.lives import names

Seen = dict[str, v1.Resolution]

ONE = v1.Resolution(found=True, profile_id="p1", user_id="user", identified=True)
OTHER = v1.Resolution(found=True, profile_id="p2", user_id="user", identified=True)
BEFORE = State().create("one", ("", "user"), primary=True)
LINKED = BEFORE.link("one", ("", "alias"))


def _step(after: State, *expected: str | Refusal) -> Step:
    request = v1.AliasRequest(user_id="user", alias_id="alias")
    return Step("Alias", request, after, expected or ["one"], names("user", "alias"))


def _with_a_user(history: History) -> Family:
    family = history.family()
    history.acknowledge(history.begin(family, _step(BEFORE), None), v1.AliasResponse(profile_id="p1"))
    return family


async def _kinds(history: History, seen: Seen) -> set[Kind]:
    async def resolve(identifiers: Sequence[v1.Identifier]) -> Sequence[v1.Resolution]:
        return [seen.get(identifier.id, v1.Resolution()) for identifier in identifiers]

    await history.look(resolve)
    return {fault.kind for fault in history.faults}


@pytest.mark.parametrize(
    ("seen", "kinds"),
    [
        ({"user": ONE, "alias": ONE}, set()),
        ({"user": ONE}, {Kind.LOST}),
        ({"user": ONE, "alias": OTHER}, {Kind.LOST}),
        ({}, {Kind.LOST}),
    ],
)
async def test_an_acknowledged_alias_must_be_there_and_on_its_profile(
    history: History, seen: Seen, kinds: set[Kind]
) -> None:
    family = _with_a_user(history)
    history.acknowledge(history.begin(family, _step(LINKED), None), v1.AliasResponse(profile_id="p1"))
    assert await _kinds(history, seen) == kinds


@pytest.mark.parametrize(
    ("seen", "kinds"), [({"user": ONE}, set()), ({"user": ONE, "alias": ONE}, {Kind.REFUSED_DONE})]
)
async def test_a_refused_alias_must_not_be_there(history: History, seen: Seen, kinds: set[Kind]) -> None:
    family = _with_a_user(history)
    history.refuse(history.begin(family, _step(LINKED), None), "STORE_UNAVAILABLE")
    assert await _kinds(history, seen) == kinds


@pytest.mark.parametrize(
    ("seen", "kinds", "moved"),
    [
        ({"user": ONE}, set(), False),
        ({"user": ONE, "alias": ONE}, set(), True),
        ({"user": ONE, "alias": OTHER}, {Kind.TORN}, False),
        ({"alias": ONE}, {Kind.TORN}, False),
    ],
)
async def test_an_unknown_alias_must_be_whole_or_absent(
    history: History, seen: Seen, kinds: set[Kind], moved: bool
) -> None:
    family = _with_a_user(history)
    history.lose_sight(history.begin(family, _step(LINKED), None), "DEADLINE_EXCEEDED")
    assert await _kinds(history, seen) == kinds
    assert family.moved is moved


def test_an_answer_must_name_the_profile_that_the_others_named(history: History) -> None:
    family = _with_a_user(history)
    history.acknowledge(history.begin(family, _step(LINKED), None), v1.AliasResponse(profile_id="p2"))
    assert {fault.kind for fault in history.faults} == {Kind.WRONG}


def test_what_must_be_refused_must_not_be_acknowledged(history: History) -> None:
    call = history.begin(history.family(), _step(State(), Refusal("USER_NOT_FOUND")), None)
    history.acknowledge(call, v1.AliasResponse(profile_id="p1"))
    assert {fault.kind for fault in history.faults} == {Kind.WRONG}
