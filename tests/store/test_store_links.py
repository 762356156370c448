"""`Store.list_links`: a workspace's links in byte order, page by page."""

import asyncio
from itertools import pairwise

import pytest

from aka.server.domain.identifiers import Identifier, ProfileId, id_of
from aka.server.errors import AkaError
from aka.server.store.store import StoredLink
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import alias, create_alias, delete_alias, identify, import_link, pair
from tests.store.clock import Clock
from tests.store.tenant import Tenant

GIVEN = ProfileId(bytes.fromhex("018900000000700080000000000000ab"))


async def everything(tenant: Tenant, limit: int) -> list[StoredLink]:
    """Return all links, read in pages."""
    found: list[StoredLink] = []
    while page := await tenant.links(found[-1].identifier if found else None, limit):
        assert len(page) <= limit
        found += page
    return found


async def test_an_empty_workspace_has_none(tenant: Tenant) -> None:
    assert await tenant.links() == []


async def test_a_link_tells_its_kind_its_time_and_its_profile(tenant: Tenant, clock: Clock) -> None:
    await tenant.batch(identify("ann", "cookie"), create_alias(pair("crm", "1"), "ann"), create_alias("other"))
    ann, other = [(await tenant.header(name)).id for name in ("ann", "other")]
    assert await tenant.links() == [
        StoredLink(id_of("ann"), False, clock.now, ann, "ann"),
        StoredLink(id_of("cookie"), True, clock.now, ann, "ann"),
        StoredLink(id_of("other"), True, clock.now, other, None),
        StoredLink(pair("crm", "1"), False, clock.now, ann, "ann"),
    ]


async def test_what_was_linked_to_a_tombstone_is_on_its_survivor(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"), identify("eve"), alias("bob", "card"))
    await tenant.do(alias("eve", "bob", v1.MERGE_POLICY_ALWAYS))
    await tenant.do(alias("ann", "eve", v1.MERGE_POLICY_ALWAYS))
    ann = (await tenant.header("ann")).id
    assert {(link.profile_id, link.primary) for link in await tenant.links()} == {(ann, "ann")}


async def test_links_are_in_byte_order_ids_first(tenant: Tenant) -> None:
    names = ["", "a", "B", "b", "a b", "é", "z", "\U0001f600", "\uffff", "aa", "a\u0301"]
    identifiers = [Identifier(label, name) for label in names for name in names if name]
    for start in range(0, len(identifiers), 50):
        await tenant.batch(*(create_alias(each) for each in identifiers[start : start + 50]))
    found = [link.identifier for link in await everything(tenant, 7)]
    assert found == sorted(identifiers, key=lambda each: (each.label.encode(), each.name.encode()))


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_pages_have_every_link_once(tenant: Tenant, limit: int) -> None:
    await tenant.batch(*(create_alias(pair("crm", str(number))) for number in range(6)))
    assert [link.identifier.name for link in await everything(tenant, limit)] == list("012345")


async def test_a_page_goes_on_behind_an_identifier_that_was_unlinked(tenant: Tenant) -> None:
    await tenant.batch(identify("a"), alias("a", "b"), alias("a", "c"))
    await tenant.do(delete_alias("b"))
    assert [link.identifier.name for link in await tenant.links(id_of("b"))] == ["c"]


async def test_no_link_of_another_workspace_is_listed(tenant: Tenant, other_tenant: Tenant) -> None:
    await tenant.do(identify("ann"))
    assert await other_tenant.links() == []


async def test_a_link_that_stands_all_the_while_is_listed_once_beside_changes(tenant: Tenant) -> None:
    await tenant.batch(*(identify(f"u{number:03}") for number in range(100)))
    await tenant.batch(*(alias(f"u{number:03}", f"a{number:03}") for number in range(100)))

    async def change() -> None:
        for one, two in pairwise(range(100)):
            await tenant.batch(
                alias(f"u{one:03}", f"new-{one}"),
                delete_alias(f"new-{one - 1}", allow_missing=True),
                alias(f"u{two:03}", f"u{one:03}", v1.MERGE_POLICY_ALWAYS),
            )

    changes = asyncio.ensure_future(change())
    found = await everything(tenant, 5)
    await changes
    stood = [link.identifier.name for link in found if not link.identifier.name.startswith("new-")]
    assert stood == [f"{letter}{number:03}" for letter in "au" for number in range(100)]


async def test_a_deadline_that_has_passed_is_told(tenant: Tenant) -> None:
    with pytest.raises(AkaError) as refusal:
        await tenant.store.list_links(tenant.workspace, None, 10, 0.0)
    assert refusal.value.name == "DEADLINE"


async def test_a_profile_gets_the_id_that_a_link_gives_it_and_is_found_by_it(tenant: Tenant) -> None:
    await tenant.do(import_link("ann", "card", profile=GIVEN))
    await tenant.do(import_link(None, "more", profile=GIVEN))
    assert await tenant.whose("ann", "card", "more", GIVEN) == [GIVEN] * 4


async def test_two_who_give_one_profile_id_at_once_make_one_profile(tenant: Tenant) -> None:
    results = await tenant.together(*(import_link(None, pair(f"l{number}", "n"), profile=GIVEN) for number in range(8)))
    assert sorted(result.outcome for result in results) == [v1.OUTCOME_CREATED] + [v1.OUTCOME_LINKED] * 7
    assert {link.profile_id for link in await tenant.links()} == {GIVEN}


async def test_a_given_profile_id_is_of_its_workspace(tenant: Tenant, other_tenant: Tenant) -> None:
    await tenant.do(import_link("ann", profile=GIVEN))
    await other_tenant.do(import_link("bob", profile=GIVEN))
    assert [await each.whose(GIVEN) for each in (tenant, other_tenant)] == [[GIVEN], [GIVEN]]
    assert (await other_tenant.header(GIVEN)).primary == "bob"
