"""What requests say: the documents' names, which are synonyms and never two for one; how fresh a read must be."""

from typing import Any

import pytest

from aka.client import Consistency, UserAlias
from aka.v1 import alias_service_pb2 as v1
from tests.client.calling import Script
from tests.client.calls import Calls


@pytest.mark.parametrize(
    "named",
    [
        {"user_id": "u", "alias_id": "a"},
        {"distinct_id": "u", "new_user_id": "a"},
        {"distinct_id": "u", "alias_id": "a"},
        {"user_id": "u", "new_user_id": "a"},
    ],
)
async def test_the_names_of_a_user_and_an_alias_are_synonyms(
    named: dict[str, str], client: Calls, script: Script
) -> None:
    await client.identify("u")
    await client.alias("u", "a")
    await client.alias(**named)
    first, second = script.seen
    assert first == second == v1.AliasRequest(user_id="u", alias_id="a")


@pytest.mark.parametrize(
    ("given", "named", "told"),
    [
        (("u", "a"), {"distinct_id": "u"}, "user_id and distinct_id all name the user"),
        (("u", "a"), {"new_user_id": "a"}, "alias_id and new_user_id all name the alias"),
        ((), {"user_id": "u", "primary_user_id": "p", "alias_id": "a"}, "user_id and primary_user_id"),
        ((), {"alias_id": "a"}, "the user is missing: give user_id or primary_user_id or distinct_id"),
        (("u",), {}, "the alias is missing: give alias_id or new_user_id"),
        ((1, "a"), {}, "user_id is a str, not int"),
        ((UserAlias("l", "n"), "a"), {}, "user_id is a str, not UserAlias"),
    ],
)
async def test_names_that_are_ambiguous_or_missing_are_a_type_error_that_says_so(
    given: tuple[Any, ...], named: dict[str, str], told: str, client: Calls, script: Script
) -> None:
    with pytest.raises(TypeError, match=told):
        await client.alias(*given, **named)
    assert not script.seen


@pytest.mark.parametrize("consistency", [None, *Consistency])
async def test_a_read_says_how_fresh_it_must_be(consistency: Consistency | None, client: Calls, script: Script) -> None:
    await client.identify("u")
    await client.resolve("u", consistency=consistency)
    await client.resolve_all(["u"], consistency=consistency)
    await client.get_profile("u", consistency=consistency)
    sent = v1.Consistency.Value(f"CONSISTENCY_{consistency or 'UNSPECIFIED'}")
    assert [request.consistency for request in script.seen] == [sent] * 3
