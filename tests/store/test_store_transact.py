"""`Store.transact`: pure decisions, in order, in one transaction with others'."""

import asyncio
from dataclasses import dataclass
from itertools import permutations
from typing import Any, NoReturn

import pytest

from aka.server.domain.graph import Decision, Graph
from aka.server.domain.identifiers import Key, ProfileId, id_of, uuid_text
from aka.server.domain.rules import Rules
from aka.server.errors import AkaError
from aka.server.store.store import Caller
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, alias, create_alias, delete_alias, identify, pair
from tests.store.tenant import Tenant

ALWAYS = v1.MERGE_POLICY_ALWAYS
NEVER = v1.MERGE_POLICY_NEVER


@dataclass(frozen=True)
class Broken:
    """A decision with a bug."""

    keys: tuple[Key, ...] = ()
    labels_of: None = None

    def decide(self, graph: Graph) -> NoReturn:
        raise ZeroDivisionError


# In order, each seeing those before it.


async def test_results_come_in_the_order_of_the_decisions(tenant: Tenant) -> None:
    results = await tenant.batch(*(identify(f"user-{number}") for number in range(20)))
    assert [result.user_id for result in results] == [f"user-{number}" for number in range(20)]


async def test_an_empty_call_gets_an_empty_answer(tenant: Tenant) -> None:
    assert await tenant.batch() == []


async def test_a_later_decision_of_a_call_sees_an_earlier_one(tenant: Tenant) -> None:
    made, linked, again = await tenant.batch(identify("ann"), alias("ann", "a-1"), alias("a-1", "a-2"))
    assert made.profile_id == linked.profile_id == again.profile_id
    assert await tenant.whose("ann", "a-1", "a-2") == [made.profile_id] * 3


async def test_of_calls_that_come_at_once_each_sees_those_before_it(tenant: Tenant) -> None:
    chain = [alias(f"a-{number}", f"a-{number + 1}") for number in range(100)]
    results = await tenant.together(identify("a-0"), *chain)
    assert {result.profile_id for result in results} == {results[0].profile_id}
    assert (await tenant.header("a-100")).identifiers == 101


async def test_of_two_calls_that_claim_an_id_at_once_one_gets_it(tenant: Tenant) -> None:
    ann, _, first, second = await tenant.together(
        identify("ann"), identify("bob"), alias("ann", "shared", NEVER), alias("bob", "shared", NEVER)
    )
    assert first.outcome == v1.OUTCOME_LINKED
    assert second.name == "ALIAS_TAKEN"
    assert await tenant.whose("shared") == [ann.profile_id]
    assert await tenant.identifiers("bob") == [id_of("bob")]


async def test_an_id_that_one_call_unlinks_another_can_link_in_the_same_moment(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"), alias("ann", "card"))
    await tenant.together(delete_alias("card"), alias("bob", "card"))
    assert await tenant.identifiers("ann") == [id_of("ann")]
    assert await tenant.identifiers("bob") == [id_of("bob"), id_of("card")]


async def test_a_user_alias_that_one_call_unlinks_another_can_link_in_the_same_moment(tenant: Tenant) -> None:
    card = pair("card", "7")
    await tenant.batch(identify("ann"), identify("bob"), create_alias(card, "ann"))
    await tenant.together(delete_alias(card), create_alias(card, "bob"))
    assert await tenant.identifiers("bob") == [id_of("bob"), card]


async def test_an_id_that_is_linked_and_unlinked_in_one_group_is_free(tenant: Tenant) -> None:
    await tenant.together(identify("ann"), alias("ann", "card"), delete_alias("card"))
    assert await tenant.whose("ann", "card") == [(await tenant.header("ann")).id, None]


async def test_an_id_that_is_unlinked_and_linked_again_in_one_group_stays(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), alias("ann", "card"))
    await tenant.together(delete_alias("card"), alias("ann", "card"), delete_alias("card"), alias("ann", "card"))
    assert await tenant.identifiers("ann") == [id_of("ann"), id_of("card")]


async def test_a_profile_that_is_made_and_merged_away_in_one_group_is_a_tombstone(tenant: Tenant) -> None:
    ann, bob, _ = await tenant.together(identify("ann"), identify("bob"), alias("ann", "bob", ALWAYS))
    page = await tenant.page(bob.profile_id)
    assert page.profile.id == ann.profile_id
    assert page.tombstones == [bob.profile_id]


async def test_an_anonymous_id_that_becomes_the_primary_id_in_its_group_is_one(tenant: Tenant) -> None:
    await tenant.together(create_alias("cookie"), identify("cookie"))
    page = await tenant.page("cookie")
    assert page.profile.primary == "cookie"
    assert [link.anonymous for _, link in page.identifiers] == [False]


async def test_an_anonymous_id_that_becomes_the_primary_id_later_is_one(tenant: Tenant) -> None:
    await tenant.do(create_alias("cookie"))
    assert [link.anonymous for _, link in (await tenant.page("cookie")).identifiers] == [True]
    await tenant.do(identify("cookie"))
    assert [link.anonymous for _, link in (await tenant.page("cookie")).identifiers] == [False]


async def test_what_was_done_at_one_moment_bears_one_time(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), alias("ann", "a-1"), alias("ann", "a-2"))
    page = await tenant.page("ann")
    assert {link.linked_at for _, link in page.identifiers} == {page.profile.created_at} == {page.profile.updated_at}


async def test_a_merge_keeps_the_earlier_time_of_creation(tenant: Tenant) -> None:
    await tenant.do(identify("ann"))
    earlier = (await tenant.header("ann")).created_at
    await tenant.do(identify("bob"))
    await tenant.do(alias("bob", "ann", ALWAYS))
    assert (await tenant.header("bob")).created_at == earlier


async def test_a_merge_that_leaves_data_behind_keeps_the_survivors_time_of_creation(tenant: Tenant) -> None:
    await tenant.do(create_alias(pair("crm", "1")))
    await tenant.do(identify("ann"))
    before = (await tenant.header("ann")).created_at
    await tenant.do(identify("ann", pair("crm", "1"), orphan=True))
    assert (await tenant.header("ann")).created_at == before


# Refusals, bugs and deadlines.


async def test_a_refusal_writes_nothing(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"))
    before = [await tenant.page("ann"), await tenant.page("bob")]
    assert await tenant.refused(alias("ann", "bob", NEVER)) == "ALIAS_TAKEN"
    assert [await tenant.page("ann"), await tenant.page("bob")] == before


async def test_a_refusal_does_not_disturb_the_decisions_beside_it(tenant: Tenant) -> None:
    ann, refused, bob = await tenant.batch(identify("ann"), alias("nobody", "card"), identify("bob"))
    assert refused.name == "USER_NOT_FOUND"
    assert await tenant.whose("ann", "card", "bob") == [ann.profile_id, None, bob.profile_id]


async def test_a_refusal_does_not_disturb_the_calls_beside_it(tenant: Tenant) -> None:
    results = await tenant.together(*(alias("nobody", "card") if n % 2 else identify(f"user-{n}") for n in range(60)))
    assert {result.name for result in results[1::2]} == {"USER_NOT_FOUND"}
    assert await tenant.whose(*(f"user-{n}" for n in range(0, 60, 2))) == [made.profile_id for made in results[::2]]


async def test_a_bug_in_one_decision_fails_its_call_alone(tenant: Tenant) -> None:
    calls: list[list[Decision[Any]]] = [[identify("ann")], [identify("lost"), Broken()], [identify("bob")]]
    ann, bug, bob = await asyncio.gather(*(tenant.batch(*call) for call in calls), return_exceptions=True)
    assert isinstance(ann, list)
    assert isinstance(bug, ZeroDivisionError)
    assert isinstance(bob, list)
    assert await tenant.whose("ann", "lost", "bob") == [ann[0].profile_id, None, bob[0].profile_id]


async def test_a_call_whose_deadline_has_passed_changes_nothing(tenant: Tenant) -> None:
    passed = asyncio.get_running_loop().time() - 1
    with pytest.raises(AkaError) as refusal:
        await tenant.store.transact(tenant.workspace, [identify("ann")], Caller(b"key", "request", deadline=passed))
    assert refusal.value.name in {"DEADLINE", "OVERLOADED"}
    assert await tenant.find("ann") is None


async def test_calls_whose_callers_go_at_any_moment_are_done_whole_or_not_at_all(tenant: Tenant) -> None:
    async def ask(number: int) -> None:
        task = asyncio.create_task(tenant.batch(identify(f"user-{number}"), alias(f"user-{number}", f"card-{number}")))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(ask(number) for number in range(120)))
    assert (await tenant.do(identify("after"))).outcome == v1.OUTCOME_CREATED
    # Read together: some of them may still be under way.
    found = await tenant.whose(*(f"{what}-{number}" for what in ("user", "card") for number in range(120)))
    assert found[:120] == found[120:]


# Merges: every tombstone leads to its survivor, in one step.


async def test_a_tombstones_identifiers_and_profile_id_are_the_survivors(tenant: Tenant) -> None:
    ann, _ = await tenant.batch(identify("ann"), alias("ann", "a-1"))
    bob, _ = await tenant.batch(identify("bob"), create_alias(pair("crm", "1"), "bob"))
    await tenant.do(alias("ann", "bob", ALWAYS))
    assert set(await tenant.whose("ann", "a-1", "bob", pair("crm", "1"), bob.profile_id)) == {ann.profile_id}


async def test_a_survivor_that_is_merged_takes_its_tombstones_along(tenant: Tenant) -> None:
    made = await tenant.batch(*(identify(f"user-{number}") for number in range(6)))
    for number in range(5):
        await tenant.do(alias(f"user-{number + 1}", f"user-{number}", ALWAYS))
    assert set(await tenant.whose(*(answer.profile_id for answer in made))) == {made[5].profile_id}
    header = await tenant.header("user-0")
    assert (header.identifiers, header.tombstones) == (6, 5)


@pytest.mark.parametrize("at_once", [False, True], ids=["one after the other", "in one group"])
async def test_merges_end_in_one_profile_in_whatever_order_they_come(tenant: Tenant, at_once: bool) -> None:
    for way, order in enumerate(permutations(range(4))):
        users = [f"{way}-{letter}" for letter in "abcde"]
        made = await tenant.batch(*map(identify, users), *(create_alias(pair(user, "x"), user) for user in users))
        merges = [alias(users[place], users[place + 1], ALWAYS) for place in order]
        if at_once:
            await tenant.together(*merges)
        else:
            for merge in merges:
                await tenant.do(merge)
        survivor = await tenant.header(users[0])
        keys = [*users, *(pair(user, "x") for user in users), *(answer.profile_id for answer in made)]
        assert set(await tenant.whose(*keys)) == {survivor.id}
        assert (survivor.identifiers, survivor.user_aliases, survivor.tombstones) == (10, 5, 4)


async def test_profiles_made_linked_and_merged_in_one_group_end_in_one(tenant: Tenant) -> None:
    steps: list[Any] = [identify("end")]
    for number in range(30):
        steps += [
            create_alias(pair(f"label-{number}", "x")),
            alias("end", f"card-{number}"),
            identify(f"card-{number}", pair(f"label-{number}", "x")),
        ]
    await tenant.together(*steps)
    header = await tenant.header("end")
    assert (header.identifiers, header.user_aliases, header.tombstones) == (61, 30, 30)
    assert len(await tenant.identifiers("end")) == 61


async def test_an_identifier_of_a_tombstone_can_be_unlinked(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"), alias("bob", "card"))
    await tenant.do(alias("ann", "bob", ALWAYS))
    await tenant.do(delete_alias("bob"))
    assert await tenant.identifiers("ann") == [id_of("ann"), id_of("card")]
    assert (await tenant.header("ann")).identifiers == 2


async def test_tombstones_count_against_the_cap(tenant: Tenant) -> None:
    rules = Rules(max_identifiers=5)
    await tenant.batch(*(identify(user) for user in ("ann", "bob", "cid")))
    await tenant.do(alias("ann", "bob", ALWAYS, rules=rules))  # 2 identifiers and 1 tombstone
    await tenant.do(alias("ann", "cid", ALWAYS, rules=rules))  # 3 and 2
    assert await tenant.refused(alias("ann", "card", rules=rules)) == "TOO_MANY_IDENTIFIERS"


# Labels: one name each, on a profile with all its tombstones.


async def test_a_label_that_a_tombstone_uses_is_taken(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"), create_alias(pair("crm", "1"), "bob"))
    await tenant.do(alias("ann", "bob", ALWAYS))
    assert await tenant.refused(create_alias(pair("crm", "2"), "ann")) == "LABEL_TAKEN"


async def test_a_label_that_was_taken_in_the_same_group_is_taken(tenant: Tenant) -> None:
    await tenant.do(identify("ann"))
    first, second = await tenant.together(create_alias(pair("crm", "1"), "ann"), create_alias(pair("crm", "2"), "ann"))
    assert (first.outcome, second.name) == (v1.OUTCOME_LINKED, "LABEL_TAKEN")


async def test_a_label_that_was_freed_in_the_same_group_is_free(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), create_alias(pair("crm", "1"), "ann"), create_alias(pair("tax", "1"), "ann"))
    await tenant.together(delete_alias(pair("crm", "1")), create_alias(pair("crm", "2"), "ann"))
    assert await tenant.identifiers("ann") == [id_of("ann"), pair("crm", "2"), pair("tax", "1")]


async def test_profiles_that_use_one_label_are_not_merged(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), create_alias(pair("crm", "1"), "ann"), create_alias(pair("crm", "2")))
    assert await tenant.refused(identify("ann", pair("crm", "2"))) == "LABEL_TAKEN"


async def test_labels_of_tombstones_are_asked_for_where_two_survivors_are_merged(tenant: Tenant) -> None:
    for user in ("ann", "bob"):
        await tenant.batch(identify(user), identify(f"{user}-2"), create_alias(pair("crm", user), f"{user}-2"))
        await tenant.do(alias(user, f"{user}-2", ALWAYS))
    assert await tenant.refused(alias("ann", "bob", ALWAYS)) == "LABEL_TAKEN"


async def test_labels_are_found_on_a_profile_that_only_an_earlier_call_of_the_group_made_reachable(
    tenant: Tenant,
) -> None:
    await tenant.batch(identify("ann"), identify("bob"), create_alias(pair("crm", "1"), "bob"))
    merged, refused = await tenant.together(alias("ann", "bob", ALWAYS), create_alias(pair("crm", "2"), "ann"))
    assert (merged.outcome, refused.name) == (v1.OUTCOME_MERGED, "LABEL_TAKEN")


async def test_labels_of_merged_profiles_add_up_in_one_group(tenant: Tenant) -> None:
    users = [f"user-{number}" for number in range(8)]
    await tenant.batch(*map(identify, users), *(create_alias(pair(user, "x"), user) for user in users))
    results = await tenant.together(
        *(alias(users[0], user, ALWAYS) for user in users[1:]),
        *(create_alias(pair(user, "y"), users[3]) for user in users),
        delete_alias(pair(users[5], "x")),
        create_alias(pair(users[5], "y"), users[2]),
    )
    assert [result.outcome for result in results[:7]] == [v1.OUTCOME_MERGED] * 7
    assert {result.name for result in results[7:15]} == {"LABEL_TAKEN"}
    assert results[16].outcome == v1.OUTCOME_LINKED
    assert (await tenant.header(users[0])).user_aliases == 8


# validate_only.


async def test_a_call_that_only_validates_writes_nothing(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"))
    before = [await tenant.page("ann"), await tenant.page("bob")]
    await tenant.batch(
        alias("ann", "card"), alias("ann", "bob", ALWAYS), identify("cid"), delete_alias("card"), validate_only=True
    )
    assert [await tenant.page("ann"), await tenant.page("bob")] == before
    assert await tenant.whose("card", "cid") == [None, None]


async def test_a_call_that_only_validates_answers_as_if_it_were_done(tenant: Tenant) -> None:
    await tenant.batch(identify("ann"), identify("bob"))
    steps = alias("ann", "card"), alias("ann", "bob", ALWAYS), alias("bob", "card"), alias("nobody", "x")
    tried = await tenant.batch(*steps, validate_only=True)
    done = await tenant.batch(*steps)
    assert tried[:3] == done[:3]
    assert (tried[3].name, tried[3].metadata) == (done[3].name, done[3].metadata)


async def test_a_call_that_only_validates_hides_the_ids_of_what_would_be_made(tenant: Tenant) -> None:
    made, linked = await tenant.batch(identify("ann"), alias("ann", "card"), validate_only=True)
    assert (made.outcome, made.profile_id, made.user_id) == (v1.OUTCOME_CREATED, None, "ann")
    assert (linked.outcome, linked.profile_id) == (v1.OUTCOME_LINKED, None)


async def test_an_unlinking_that_is_only_tried_does_not_name_what_would_be_made(tenant: Tenant) -> None:
    *_, profile_id = await tenant.batch(identify("ann"), alias("ann", "card"), delete_alias("card"), validate_only=True)
    assert profile_id is None


async def test_a_refusal_that_is_only_tried_does_not_name_what_would_be_made(tenant: Tenant) -> None:
    [ann] = await tenant.batch(identify("ann"))
    _, refused = await tenant.batch(identify("bob"), alias("ann", "bob"), validate_only=True)
    assert refused.name == "IDENTIFIED_PROFILE"
    assert refused.metadata == {"alias_id": "bob", "user_profile_id": uuid_text(ann.profile_id)}


async def test_a_call_that_only_validates_is_not_seen_by_those_beside_it(tenant: Tenant) -> None:
    tried, done = await asyncio.gather(
        tenant.batch(identify("ann"), alias("ann", "card"), validate_only=True), tenant.batch(alias("ann", "card"))
    )
    assert tried[1].outcome == v1.OUTCOME_LINKED
    assert done[0].name == "USER_NOT_FOUND"


async def test_a_call_that_only_validates_sees_the_calls_before_it(tenant: Tenant) -> None:
    done, tried = await asyncio.gather(
        tenant.batch(identify("ann")), tenant.batch(alias("ann", "card"), validate_only=True)
    )
    assert tried[0].profile_id == done[0].profile_id


# Workspaces.


async def test_nothing_crosses_a_workspace(tenant: Tenant, other_tenant: Tenant) -> None:
    names: list[str | Key] = ["ann", "card", pair("crm", "1")]
    steps = identify("ann"), alias("ann", "card"), create_alias(pair("crm", "1"), "ann")
    mine, theirs = await asyncio.gather(tenant.batch(*steps), other_tenant.batch(*steps))
    assert set(await tenant.whose(*names)) == {mine[0].profile_id}
    assert set(await other_tenant.whose(*names)) == {theirs[0].profile_id}
    assert mine[0].profile_id != theirs[0].profile_id


async def test_a_merge_in_one_workspace_leaves_the_other_alone(tenant: Tenant, other_tenant: Tenant) -> None:
    steps = identify("ann"), identify("bob"), create_alias(pair("crm", "1"), "bob")
    await asyncio.gather(tenant.batch(*steps), other_tenant.batch(*steps))
    before = await other_tenant.page("ann"), await other_tenant.page("bob")
    await tenant.together(alias("ann", "bob", ALWAYS), delete_alias(pair("crm", "1")))
    assert (await other_tenant.page("ann"), await other_tenant.page("bob")) == before


async def test_a_profile_id_of_another_workspace_is_nobodys(tenant: Tenant, other_tenant: Tenant) -> None:
    mine: ProfileId = (await tenant.batch(identify("ann")))[0].profile_id
    assert await other_tenant.whose(mine, UNKNOWN) == [None, None]
    assert await other_tenant.refused(alias(mine, "card")) == "PROFILE_NOT_FOUND"


async def test_calls_of_many_workspaces_that_come_at_once_stay_apart(tenant: Tenant, other_tenant: Tenant) -> None:
    tenants = [tenant, other_tenant] * 40
    results = await asyncio.gather(
        *(each.batch(alias("ann", f"card-{n}", create_missing=True)) for n, each in enumerate(tenants))
    )
    assert {(await tenant.header("ann")).id} == {result[0].profile_id for result in results[::2]}
    assert {(await other_tenant.header("ann")).id} == {result[0].profile_id for result in results[1::2]}
    assert (await tenant.header("ann")).identifiers == (await other_tenant.header("ann")).identifiers == 41
