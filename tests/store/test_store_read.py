"""`Store.resolve` and `Store.read_profile`: what was last committed, of one workspace, in byte order."""

import asyncio

import pytest

from aka.server.domain.identifiers import Identifier, Key, ProfileId, id_of
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, alias, create_alias, delete_alias, identify, pair
from tests.store.tenant import Tenant

ALWAYS = v1.MERGE_POLICY_ALWAYS

# `resolve`, and what decisions are shown.


async def test_what_was_never_linked_is_nobodys(tenant: Tenant) -> None:
    assert await tenant.whose("nobody", pair("crm", "1"), UNKNOWN) == [None, None, None]


async def test_what_was_unlinked_is_nobodys(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), alias("ann", "card"), create_alias(pair("crm", "1"), "ann"))
    await tenant.batch(delete_alias("card"), delete_alias(pair("crm", "1")))
    assert await tenant.whose("card", pair("crm", "1")) == [None, None]


async def test_a_header_says_who_a_profile_is_and_what_hangs_on_it(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), alias("ann", "card"), create_alias(pair("crm", "1"), "ann"), identify("bob"))
    await tenant.do(alias("ann", "bob", ALWAYS))
    header = await tenant.header("bob")
    assert (header.primary, header.identifiers, header.user_aliases, header.tombstones) == ("ann", 4, 1, 1)


async def test_an_anonymous_profile_has_no_primary_id(tenant: Tenant) -> None:
    await tenant.do(create_alias("cookie"))
    header = await tenant.header("cookie")
    assert header.primary is None
    assert not header.identified


async def test_a_key_resolves_to_the_living_profile_and_its_primary_id(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), create_alias(pair("crm", "1"), "ann"), create_alias("cookie"))
    bob = await tenant.do(identify("bob"))
    ann = await tenant.do(alias("ann", "bob", ALWAYS))
    assert bob.profile_id is not None
    assert ann.profile_id is not None
    anns, nobody_known = (ann.profile_id, "ann"), ((await tenant.header("cookie")).id, None)
    expected: dict[Key, tuple[ProfileId, str | None]] = {
        id_of("bob"): anns,
        pair("crm", "1"): anns,
        bob.profile_id: anns,
        ann.profile_id: anns,
        id_of("cookie"): nobody_known,
    }
    assert await tenant.resolve(list(expected)) == expected
    for key, living in expected.items():
        assert await tenant.resolve([key]) == {key: living}


async def test_a_profile_is_found_by_its_profile_id(tenant: Tenant) -> None:
    made = await tenant.do(identify("ann"))
    assert made.profile_id is not None
    assert await tenant.header(made.profile_id) == await tenant.header("ann")


async def test_an_identifier_tells_its_origin_and_how_it_came(tenant: Tenant) -> None:
    ann = await tenant.do(identify("ann"))
    bob, _ = await tenant.batch(identify("bob", "cookie"), alias("ann", "bob", ALWAYS))
    graph = await tenant.look(id_of("ann"), id_of("cookie"))
    own, taken_over = graph.link_of(id_of("ann")), graph.link_of(id_of("cookie"))
    assert own is not None
    assert taken_over is not None
    assert (own.origin, own.anonymous) == (ann.profile_id, False)
    assert (taken_over.origin, taken_over.anonymous) == (bob.profile_id, True)


async def test_a_key_that_was_not_asked_for_is_not_taken_for_free(tenant: Tenant) -> None:
    graph = await tenant.look(id_of("ann"))
    with pytest.raises(KeyError):
        graph.find(id_of("bob"))


async def test_nothing_asked_is_nothing_read(tenant: Tenant) -> None:
    await tenant.do(identify("ann"))
    assert await tenant.resolve([]) == {}


async def test_a_thousand_keys_of_every_kind_are_read_at_once(tenant: Tenant) -> None:
    ids = [f"user-{number}" for number in range(300)]
    pairs = [pair(f"label-{number % 7}", f"name-{number}") for number in range(300)]
    made = await tenant.batch(*map(identify, ids))
    await tenant.batch(*map(create_alias, pairs))
    profiles = [answer.profile_id for answer in made]
    found = await tenant.whose(*ids, *profiles, *pairs, *(f"free-{number}" for number in range(100)))
    assert found[:600] == profiles * 2
    assert len(set(found[600:900])) == 300
    assert set(found[900:]) == {None}


async def test_a_change_is_read_as_soon_as_it_is_acknowledged(tenant: Tenant) -> None:
    async def caller(number: int) -> None:
        for step in range(20):
            made = await tenant.do(identify(f"user-{number}-{step}"))
            assert await tenant.whose(f"user-{number}-{step}") == [made.profile_id]

    await asyncio.gather(*map(caller, range(8)))


async def test_reads_that_come_at_once_each_get_their_own_workspace(tenant: Tenant, other_tenant: Tenant) -> None:
    mine, theirs = await tenant.do(identify("ann")), await other_tenant.do(identify("ann"))
    found = await asyncio.gather(*(each.whose("ann") for each in [tenant, other_tenant] * 20))
    assert found == [[mine.profile_id], [theirs.profile_id]] * 20


async def test_reads_that_come_at_once_each_get_what_they_asked_for(tenant: Tenant) -> None:
    made = await tenant.batch(*(identify(f"user-{number}") for number in range(50)))
    found = await asyncio.gather(*(tenant.whose(f"user-{number}", "nobody") for number in range(50)))
    assert found == [[answer.profile_id, None] for answer in made]
    pages = await asyncio.gather(*(tenant.page(f"user-{number}") for number in range(50)))
    assert [page.profile.id for page in pages] == [answer.profile_id for answer in made]


async def test_a_large_read_whose_deadline_has_passed_is_refused(tenant: Tenant) -> None:
    many = [id_of(f"user-{number}") for number in range(500)]  # a few keys may be read at once, before any deadline
    with pytest.raises(AkaError) as refusal:
        await tenant.store.resolve(tenant.workspace, many, asyncio.get_running_loop().time() - 1)
    assert refusal.value.name in {"DEADLINE", "OVERLOADED"}


# `read_profile`.


async def paged(tenant: Tenant, key: str, limit: int) -> list[Identifier]:
    """Return all of a profile's identifiers, as pages of `limit` bring them."""
    found: list[Identifier] = []
    while True:
        page = await tenant.page(key, found[-1] if found else None, limit)
        assert len(page.identifiers) == limit or not page.more
        assert not found or page.identifiers[0][0] > found[-1]
        found += [identifier for identifier, _ in page.identifiers]
        if not page.more:
            return found


async def test_the_profile_of_a_key_that_is_nobodys_is_none(tenant: Tenant) -> None:
    for key in id_of("nobody"), pair("crm", "1"), UNKNOWN:
        assert await tenant.store.read_profile(tenant.workspace, key, None, 100, None) is None


async def test_a_page_is_of_the_workspace_that_asks(tenant: Tenant, other_tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), alias("ann", "card"), identify("bob"), alias("ann", "bob", ALWAYS))
    theirs = await other_tenant.do(identify("ann"))
    page = await other_tenant.page("ann")
    assert page.profile.id == theirs.profile_id
    assert [identifier for identifier, _ in page.identifiers] == [id_of("ann")]
    assert page.tombstones == []
    assert await other_tenant.whose("card", "bob") == [None, None]


async def test_identifiers_come_in_the_order_of_their_bytes_ids_first(tenant: Tenant) -> None:
    # U+FF5E stands before U+1F600 in bytes, and behind it in UTF-16. Collations would fold or reorder most of these.
    names = [
        "a",
        "B",
        "b",
        "A",
        "a ",
        "a!",
        "aa",
        "é",
        "e\u0301",
        "z",
        "Z",
        "ß",
        "ss",
        "1",
        "10",
        "2",
        "～",
        "😀",
        "_",
        "%",
    ]
    labels = ["crm", "Crm", "crm2", "é", "～", "😀"]
    await tenant.do(identify("anchor"))
    await tenant.batch(*(alias("anchor", name) for name in names))
    await tenant.batch(*(create_alias(pair(label, "x"), "anchor") for label in labels))
    expected = [id_of(name) for name in ["anchor", *names]] + [pair(label, "x") for label in labels]
    expected.sort(key=lambda identifier: (identifier.label.encode(), identifier.name.encode()))
    assert await tenant.identifiers("anchor") == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 23, 24, 100])
async def test_pages_of_any_size_miss_and_repeat_nothing(tenant: Tenant, limit: int) -> None:
    await tenant.batch(identify("ann"), *(alias("ann", f"card-{number:02}") for number in range(11)))
    await tenant.batch(*(create_alias(pair(f"label-{number:02}", "x"), "ann") for number in range(12)))
    found = await paged(tenant, "ann", limit)
    assert len(found) == 24
    assert found == sorted(set(found))


async def test_a_page_that_is_just_full_has_no_more(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), alias("ann", "card"))
    assert not (await tenant.page("ann", limit=2)).more
    assert (await tenant.page("ann", limit=1)).more


async def test_a_page_after_an_identifier_that_is_gone_goes_on_where_it_was(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), *(alias("ann", f"card-{number}") for number in range(4)))
    await tenant.do(delete_alias("card-1"))
    page = await tenant.page("ann", id_of("card-1"))
    assert [identifier.name for identifier, _ in page.identifiers] == ["card-2", "card-3"]


async def test_pages_go_over_the_identifiers_of_tombstones(tenant: Tenant) -> None:
    users = [f"user-{number}" for number in range(5)]
    cards = [(user, f"card-{user}-{number}") for user in users for number in range(6)]
    await tenant.batch(*map(identify, users), *(alias(*card) for card in cards))
    await tenant.batch(*(create_alias(pair(f"label-{user}", "x"), user) for user in users))
    for user in users[1:]:
        await tenant.do(alias(user, users[0], ALWAYS))
    expected = [id_of(name) for name in [*users, *(card for _, card in cards)]]
    expected += [pair(f"label-{user}", "x") for user in users]
    for limit in (1, 4, 40):
        assert await paged(tenant, "user-2", limit) == sorted(expected)


async def test_a_page_tells_how_and_when_each_identifier_was_linked(tenant: Tenant) -> None:
    made = await tenant.do(identify("ann", "cookie"))
    page = await tenant.page("ann")
    assert [(identifier.name, link.origin, link.anonymous) for identifier, link in page.identifiers] == [
        ("ann", made.profile_id, False),
        ("cookie", made.profile_id, True),
    ]
    assert {link.linked_at for _, link in page.identifiers} == {page.profile.created_at}


async def test_a_tombstones_page_is_its_survivors(tenant: Tenant) -> None:
    await tenant.do(identify("ann"))
    bob, _ = await tenant.batch(identify("bob"), alias("ann", "bob", ALWAYS))
    by_id = await tenant.store.read_profile(tenant.workspace, bob.profile_id, None, 100, None)
    assert by_id == await tenant.page("ann", limit=100)


async def test_tombstones_come_newest_first(tenant: Tenant) -> None:
    made = await tenant.batch(*(identify(f"user-{number}") for number in range(6)))
    for number in (3, 1, 4, 2, 5):
        await tenant.do(alias("user-0", f"user-{number}", ALWAYS))
    assert (await tenant.page("user-0")).tombstones == [made[number].profile_id for number in (5, 2, 4, 1, 3)]


async def test_tombstones_of_tombstones_stand_where_they_were_merged(tenant: Tenant) -> None:
    made = await tenant.batch(*(identify(f"user-{number}") for number in range(5)))
    for survivor, loser in ((1, 2), (0, 4), (1, 3), (0, 1)):
        await tenant.do(alias(f"user-{survivor}", f"user-{loser}", ALWAYS))
    assert (await tenant.page("user-0")).tombstones == [made[number].profile_id for number in (1, 3, 4, 2)]


async def test_the_newest_hundred_tombstones_are_shown_and_all_are_counted(tenant: Tenant) -> None:
    made = await tenant.batch(*(identify(f"user-{number}") for number in range(131)))
    await tenant.together(*(alias("user-0", f"user-{number}", ALWAYS) for number in range(1, 131)))
    page = await tenant.page("user-0")
    assert page.tombstones == [made[number].profile_id for number in range(130, 30, -1)]
    assert page.profile.tombstones == 130
