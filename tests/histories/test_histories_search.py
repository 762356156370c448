"""The search itself: it must see every anomaly, and nothing in a history that has an order."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo

from aka.server.methods import METHODS
from tests.histories.operations import Operation
from tests.histories.search import NotLinearizable, Undecided, assert_linearizable, independent

P1, P2, P3 = (f"01890000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
REQUEST_ID: Final = "01890000-0000-7000-8000-0000000000ff"
UNKNOWN: Final = None

Called = tuple[str, dict[str, Any], dict[str, Any] | str | None]
"""A method, a request, and an answer: a response, the reason of a refusal, or nothing."""


def at(began: int, ended: int, called: Called) -> Operation:
    """Return a call from one moment to another."""
    method, asked, told = called
    request = json_format.ParseDict(asked, METHODS[method].request())
    answer: Message | None = None
    if isinstance(told, str):
        answer = ErrorInfo(reason=told)
    elif told is not None:
        answer = json_format.ParseDict(told, METHODS[method].response())
    return Operation(0, request, began, ended, answer)


def in_turn(*calls: Called) -> list[Operation]:
    """Return calls that were made one after the other."""
    return [at(10 * number, 10 * number + 5, called) for number, called in enumerate(calls)]


def at_once(before: Sequence[Operation], *calls: Called) -> list[Operation]:
    """Return calls that were made at the same time, after others."""
    return [*before, *(at(1000 + number, 2000 + number, called) for number, called in enumerate(calls))]


def later(before: Sequence[Operation], *calls: Called) -> list[Operation]:
    """Return calls that were made in turn, after all others."""
    return [*before, *(at(3000 + 10 * number, 3005 + 10 * number, called) for number, called in enumerate(calls))]


# What is called, and what it may have been answered.


def identify(user: str, profile: str | None = P1, outcome: str = "CREATED") -> Called:
    request = {"aliases_to_identify": [{"external_id": user}]}
    if profile is None:
        return "Identify", request, UNKNOWN
    item = {"outcome": f"OUTCOME_{outcome}", "profile_id": profile, "user_id": user}
    return "Identify", request, {"aliases_processed": 1, "results": [item]}


def alias(
    user: str, alias: str, profile: str | None = P1, outcome: str = "LINKED", *, named: str = "", **more: Any
) -> Called:
    request = {"user_id": user, "alias_id": alias} | more
    if profile is None:
        return "Alias", request, UNKNOWN
    told = {"user_id": named or user, "alias_id": alias, "profile_id": profile, "outcome": f"OUTCOME_{outcome}"}
    return "Alias", request, told


def refused(call: Called, reason: str) -> Called:
    return call[0], call[1], reason


def unknown(call: Called) -> Called:
    return call[0], call[1], UNKNOWN


def merge(user: str, other: str, loser: str = P2, **more: Any) -> Called:
    method, request, told = alias(user, other, P1, "MERGED", merge_policy="MERGE_POLICY_ALWAYS", **more)
    assert isinstance(told, dict)
    return method, request, told | {"merged_profile_id": loser}


def delete(id_: str, profile: str | None = P1) -> Called:
    return "DeleteAlias", {"id": id_}, profile and {"profile_id": profile}


def resolve(**found: tuple[str, str] | None) -> Called:
    """Return a Resolve of ids; each was on a profile with a primary id, or nobody's."""
    answers = [
        {"found": True, "profile_id": of[0], "user_id": of[1], "identified": True} if of else {}
        for of in found.values()
    ]
    return "Resolve", {"identifiers": [{"id": id_} for id_ in found]}, {"resolutions": answers}


def profile(id_: str, *aliases: str, user: str = "", id: str = P1, merged: Sequence[str] = ()) -> Called:
    """Return a GetProfile of an id; the profile has a primary id and other ids."""
    kinds = {user or id_: "PRIMARY"} | dict.fromkeys(aliases, "ALIAS")
    answer = {
        "profile_id": id,
        "user_id": user or id_,
        "identified": True,
        "identifiers": [
            {"identifier": {"id": name}, "kind": f"IDENTIFIER_KIND_{kinds[name]}"} for name in sorted(kinds)
        ],
        "identifier_count": len(kinds),
        "merged_profile_ids": merged,
        "merged_profile_count": len(merged),
    }
    return "GetProfile", {"identifier": {"id": id_}}, {"profile": answer}


ANN: Final = in_turn(identify("ann"))
BOTH: Final = in_turn(identify("ann"), identify("bob", P2))
ON_ANN: Final = P1, "ann"
ON_BOB: Final = P2, "bob"
BATCH: Final[Called] = (
    "BatchAlias",
    {"requests": [{"user_id": "ann", "alias_id": "x"}, {"user_id": "ann", "alias_id": "y"}]},
    UNKNOWN,
)
NEW: Final = alias("ann", "x", P1, "CREATED", create_missing=True, request_id=REQUEST_ID)

LINEARIZABLE: Final = {
    "calls in turn": in_turn(identify("ann"), alias("ann", "x"), resolve(x=ON_ANN), delete("x"), resolve(x=None)),
    "a read beside a write, which may see it or not": at_once(
        ANN, alias("ann", "x"), resolve(x=None), resolve(x=ON_ANN), profile("ann"), profile("ann", "x")
    ),
    "one of two gets an id": later(
        at_once(
            BOTH,
            alias("ann", "x", merge_policy="MERGE_POLICY_NEVER"),
            refused(alias("bob", "x", merge_policy="MERGE_POLICY_NEVER"), "ALIAS_TAKEN"),
        ),
        resolve(x=ON_ANN),
    ),
    "a merge before which, and after which, an id was read": later(
        at_once(BOTH, merge("ann", "bob"), resolve(ann=ON_ANN, bob=ON_BOB), resolve(ann=ON_ANN, bob=ON_ANN)),
        profile("bob", "bob", user="ann", merged=[P2]),
    ),
    "an unknown change that nobody saw": later(at_once(ANN, unknown(alias("ann", "x"))), resolve(x=None)),
    "an unknown change that was seen at last": later(
        at_once(ANN, unknown(alias("ann", "x"))), resolve(x=None), resolve(x=ON_ANN), profile("ann", "x")
    ),
    "an unknown change that another undid": later(
        at_once(ANN, unknown(alias("ann", "x"))), resolve(x=None), delete("x"), resolve(x=None)
    ),
    "an unknown change that others needed": at_once(
        [], unknown(identify("ann")), alias("ann", "x", P3), unknown(delete("x")), resolve(ann=(P3, "ann"), x=None)
    ),
    "a whole batch of which nothing is known": later(at_once(ANN, BATCH), resolve(x=ON_ANN, y=ON_ANN)),
    "a new profile that is named by its merge": later(
        at_once(ANN, unknown(identify("bob"))), merge("ann", "bob", P3), profile("ann", "bob", merged=[P3])
    ),
    "a refusal of the moment": later(at_once(ANN, refused(alias("ann", "x"), "OVERLOADED")), resolve(x=None)),
    "a repeat that gets the first answer": later(at_once([], NEW, NEW), NEW, delete("x"), NEW, resolve(x=None)),
    "a repeat of an unknown change": later(at_once([], unknown(NEW)), NEW, resolve(x=ON_ANN)),
    "what is only validated": in_turn(
        alias("ann", "x", "", "CREATED", create_missing=True, validate_only=True),
        resolve(ann=None, x=None),
    ),
}

ANOMALIES: Final = {
    "a stale read": later(at_once(ANN, alias("ann", "x")), resolve(x=None)),
    "a stale profile": later(at_once(ANN, alias("ann", "x")), profile("ann")),
    "a read older than the one before it": [
        *ANN,
        at(100, 900, alias("ann", "x")),
        at(200, 300, resolve(x=ON_ANN)),
        at(400, 500, resolve(x=None)),
    ],
    "a lost update: two make one id": later(at_once([], identify("ann", P1), identify("ann", P2)), resolve(ann=ON_ANN)),
    "a lost update: two take one id": at_once(
        BOTH,
        alias("ann", "x", merge_policy="MERGE_POLICY_NEVER"),
        alias("bob", "x", P2, merge_policy="MERGE_POLICY_NEVER"),
    ),
    "a lost update: one of two links is not counted": later(
        at_once(ANN, alias("ann", "x"), alias("ann", "y")), profile("ann", "y")
    ),
    "a change refused by a rule that took effect": later(
        at_once(BOTH, refused(alias("ann", "bob"), "IDENTIFIED_PROFILE")), resolve(ann=ON_ANN, bob=ON_ANN)
    ),
    "a change refused for the moment that took effect": later(
        at_once(ANN, refused(alias("ann", "x"), "STORE_UNAVAILABLE")), resolve(x=ON_ANN)
    ),
    "a refusal without a reason": in_turn(identify("ann"), refused(alias("ann", "x"), "ALIAS_TAKEN")),
    "a merge half seen": at_once(
        [*BOTH, at(100, 200, alias("bob", "x", P2))], merge("ann", "bob"), resolve(bob=ON_ANN, x=ON_BOB)
    ),
    "a merge that a profile does not tell of": later(at_once(BOTH, merge("ann", "bob")), profile("ann", "bob")),
    "a batch half seen": at_once(ANN, BATCH, resolve(x=ON_ANN, y=None)),
    "an unknown batch half done": later(at_once(ANN, BATCH), profile("ann", "x"), resolve(y=None), profile("ann", "x")),
    "an acknowledged change that vanished": later(
        at_once(ANN, alias("ann", "x"), resolve(x=ON_ANN)), resolve(x=ON_ANN), resolve(x=None)
    ),
    "an unknown change that was seen and vanished": later(
        at_once(ANN, unknown(alias("ann", "x"))), resolve(x=ON_ANN), resolve(x=None)
    ),
    "an unknown change before it was asked for": [
        *later(ANN, resolve(x=ON_ANN)),
        at(9000, 9001, unknown(alias("ann", "x"))),
    ],
    "a change done twice": later(at_once([], NEW), delete("x"), NEW, resolve(x=ON_ANN)),
    "a repeat that gets another answer": at_once([], NEW, (*NEW[:2], alias("ann", "x", P1, "ALREADY_LINKED")[2])),
    "one profile id for two profiles": in_turn(identify("ann"), identify("bob", P1)),
    "another profile id for one profile": in_turn(identify("ann"), alias("ann", "x", P2)),
    "a refusal of a read": in_turn(refused(resolve(x=None), "INVALID_VALUE")),
    "more identifiers than are allowed": in_turn(identify("ann"), *(alias("ann", f"x{number}") for number in range(9))),
}


@pytest.mark.parametrize("history", LINEARIZABLE.values(), ids=LINEARIZABLE)
def test_an_order_is_found_for(history: list[Operation]) -> None:
    assert_linearizable(history, most=9)


@pytest.mark.parametrize("history", ANOMALIES.values(), ids=ANOMALIES)
def test_no_order_is_found_for(history: list[Operation]) -> None:
    with pytest.raises(NotLinearizable):
        assert_linearizable(history, most=9)


def test_a_search_that_reaches_its_bound_fails() -> None:
    history = at_once(ANN, *(alias("ann", f"x{number}") for number in range(8)))
    with pytest.raises(Undecided, match="10 states"):
        assert_linearizable(history, most=100, states=10)


def test_an_anomaly_is_shown_without_what_is_beside_it() -> None:
    history = at_once(
        [*BOTH, at(100, 200, alias("bob", "z", P2)), at(200, 300, resolve(ann=ON_ANN, x=None))],
        alias("ann", "x"),
        resolve(x=None),
        resolve(ann=ON_ANN, x=ON_ANN),
    )
    with pytest.raises(NotLinearizable) as caught:
        assert_linearizable(later(history, resolve(ann=ON_ANN), resolve(x=None), resolve(x=ON_ANN)), most=9)
    head, *lines = str(caught.value).splitlines()
    assert head == "no order explains these 3 of 8 operations"
    assert [line.split()[3] for line in lines] == ["Identify", "Alias", "Resolve"]


def test_what_names_nothing_in_common_is_searched_apart() -> None:
    parts = independent(
        [*BOTH, *in_turn(alias("ann", "x"), profile("bob", id=P2), resolve(c=None), resolve(c=None, d=None))]
    )
    assert sorted(map(len, parts)) == [2, 2, 2]
    assert len(independent([*BOTH, *in_turn(resolve(ann=ON_ANN, bob=ON_BOB))])) == 1


def test_callers_that_share_only_a_request_id_are_searched_together() -> None:
    first, second = alias("ann", "x", request_id=REQUEST_ID), alias("bob", "y", P2, request_id=REQUEST_ID)
    assert len(independent(in_turn(first, second))) == 1
