"""Identifiers compare byte for byte: no case, no normal form, no trimming, no number, no pattern."""

import unicodedata
from typing import Final

import pytest

from aka.server.domain.identifiers import MAX_ID_BYTES, MAX_USER_ALIAS_BYTES, Identifier, checked_id, id_of
from aka.server.errors import AkaError
from tests.domain.world import alias, create_alias, delete_alias, identify, pair
from tests.store.tenant import Tenant

ALIKE: Final = {
    "case": ["ann@example.org", "Ann@example.org", "ANN@EXAMPLE.ORG"],
    "case that changes length": ["straße", "strasse", "STRASSE", "ﬀ", "ff", "FF"],
    "turkish case": ["i", "İ", "ı", "I"],
    "greek case": ["ς", "σ", "Σ"],
    "normal forms": ["é", "e\u0301", "Å", "\u212b", "A\u030a", "ﬁ", "fi", "\u1e9b\u0323", "ṩ"],
    "order of combining marks": ["q\u0307\u0323", "q\u0323\u0307"],
    "width": ["ａ", "a", "１", "1"],
    "blanks": ["x", "x ", "x  ", " x", "x\u00a0", "x\u3000", "x\u200b", "x\ufeff", "\ufeffx", "x\u2028", "x\u200d"],
    "letters of other scripts": ["K", "\u212a", "О", "O", "Ο"],
    "emoji": ["👩", "👩‍💻", "👩🏽", "👩🏽‍💻", "❤", "❤️"],
    "edges of Unicode": ["\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"],
    "numbers": ["1e1", "01", "1.0", "+1", "1_0", "10", "10.0", "0x1"],
    "JSON": ['"', '"a"', "\\", "\\\\", "\\n", "\\u0061", '{"a":1}', "[1]", '["a","b"]', "$[0]", "{}", "[]"],
    "SQL": ["'", "'a'", "%", "_", "*", "?", "?1", ":a", "a%", "a_", "aa", "'; --", "NULL"],
    "length": ["a" * 399 + "b", "a" * 399 + "c", "a" * 399, "😀" * 100, "😀" * 99 + "😁", "é" * 200],
}
"""Values that a store which does not compare bytes may take for one another, by what would mislead it."""
SHORT: Final = {what: names for what, names in ALIKE.items() if what != "length"}
"""Those that labels and names may have."""


@pytest.mark.parametrize("names", ALIKE.values(), ids=ALIKE.keys())
async def test_ids_that_look_alike_are_different_people(tenant: Tenant, names: list[str]) -> None:
    for name in names:
        assert checked_id(name, "id") == id_of(name)
    made = [(await tenant.do(identify(name))).profile_id for name in names]
    assert len(set(made)) == len(names)
    assert await tenant.whose(*names) == made
    for name, profile_id in zip(names, made, strict=True):
        assert await tenant.whose(name) == [profile_id]
        assert (await tenant.header(name)).primary == name


@pytest.mark.parametrize("names", ALIKE.values(), ids=ALIKE.keys())
async def test_ids_that_look_alike_are_aliases_of_one_person(tenant: Tenant, names: list[str]) -> None:
    await tenant.do(identify("anchor"))
    await tenant.batch(*(alias("anchor", name) for name in names))
    assert set(await tenant.identifiers("anchor")) == {id_of(name) for name in ["anchor", *names]}
    await tenant.do(delete_alias(names[0]))
    assert await tenant.whose(names[0]) == [None]
    assert (await tenant.header(names[1])).identifiers == len(names)


@pytest.mark.parametrize("names", SHORT.values(), ids=SHORT.keys())
async def test_user_aliases_that_look_alike_are_different_people(tenant: Tenant, names: list[str]) -> None:
    pairs = [pair(label, name) for label in names for name in names]
    made = [answer.profile_id for answer in await tenant.batch(*map(create_alias, pairs))]
    assert len(set(made)) == len(pairs)
    assert await tenant.whose(*pairs) == made
    assert await tenant.whose(pairs[-1]) == made[-1:]


@pytest.mark.parametrize("labels", SHORT.values(), ids=SHORT.keys())
async def test_labels_that_look_alike_are_different_labels(tenant: Tenant, labels: list[str]) -> None:
    await tenant.do(identify("anchor"))
    for label in labels:
        await tenant.do(create_alias(pair(label, "x"), "anchor"))
    for label in labels:
        assert await tenant.refused(create_alias(pair(label, "y"), "anchor")) == "LABEL_TAKEN"


async def test_an_id_and_a_user_alias_of_the_same_letters_are_different(tenant: Tenant) -> None:
    keys = [
        id_of("a"),
        pair("a", "a"),
        id_of("a:b"),
        pair("a", "b"),
        pair("a:", "b"),
        pair("a", ":b"),
        id_of('["a","b"]'),
    ]
    made = [(await tenant.do(create_alias(key))).profile_id for key in keys]
    assert len(set(made)) == len(keys)
    assert await tenant.whose(*keys) == made


async def test_the_longest_user_aliases_differ_in_their_last_byte(tenant: Tenant) -> None:
    most = "a" * (MAX_USER_ALIAS_BYTES - 1)
    pairs = [pair(most + first, most + second) for first in "xy" for second in "xy"]
    made = [answer.profile_id for answer in await tenant.batch(*map(create_alias, pairs))]
    assert len(set(made)) == 4
    assert await tenant.whose(*pairs) == made


async def test_every_character_that_an_id_may_have_comes_back_as_it_went(tenant: Tenant) -> None:
    characters = [chr(code) for code in (*range(0x20, 0x3000), *range(0xFE00, 0x10000), *range(0x1F300, 0x1F700))]
    allowed = "".join(each for each in characters if unicodedata.category(each) not in {"Cc", "Cs"})
    pieces = [allowed[start : start + 100] for start in range(0, len(allowed), 100)]
    pieces = [piece for piece in pieces if len(piece.encode()) <= MAX_ID_BYTES]
    await tenant.do(identify("anchor"))
    results = await tenant.batch(*(alias("anchor", piece) for piece in pieces))
    assert not [result for result in results if isinstance(result, AkaError)]
    stored = await tenant.identifiers("anchor")
    assert stored == sorted(map(id_of, ["anchor", *pieces]), key=_bytes)


def _bytes(identifier: Identifier) -> tuple[bytes, bytes]:
    return identifier.label.encode(), identifier.name.encode()
