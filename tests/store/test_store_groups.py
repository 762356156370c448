"""Many callers at once: the answers and the graph of one after the other, nothing lost, nothing doubled."""

import asyncio
from collections import Counter
from random import Random
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aka.server.domain.alias import Alias
from aka.server.domain.changes import Merged
from aka.server.domain.create_aliases import CreateAlias
from aka.server.domain.delete_alias import DeleteAlias
from aka.server.domain.identifiers import Identifier, Key, ProfileId, id_of, uuid_text
from aka.server.domain.identify import Identify
from aka.server.domain.rules import Answer, Rules
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, World, alias, create_alias, delete_alias, pair, profile_id
from tests.store.backends import Backend
from tests.store.tenant import Tenant

ALWAYS = v1.MERGE_POLICY_ALWAYS

# So few of each that most commands meet what an earlier one did.
IDS: Final = [id_of(name) for name in ("a", "b", "c", "d", "e", "f", "null")]
PAIRS: Final = [pair(label, name) for label in ("crm", "tax") for name in ("1", "2")]
NTH: Final = [profile_id(number) for number in range(1, 9)]
"""Each stands for the profile that was made as the nth, or for an unknown one where there is none."""

Command = Alias | Identify | CreateAlias | DeleteAlias

ids = st.sampled_from(IDS)
identifiers = st.sampled_from(IDS + PAIRS)
rules = st.sampled_from([Rules(max_identifiers=6), Rules(), Rules()])
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        Alias,
        user=ids | st.sampled_from(NTH),
        alias=ids,
        policy=st.sampled_from([*v1.MergePolicy.values(), ALWAYS, ALWAYS]),
        create_missing=st.booleans(),
        may_merge=st.sampled_from([True, True, True, False]),
        rules=rules,
    ),
    st.builds(Identify, external=ids, subject=st.none() | identifiers, orphan=st.booleans(), rules=rules),
    st.builds(CreateAlias, external=st.none() | ids, alias=identifiers, rules=rules),
    st.builds(DeleteAlias, alias=identifiers, profile_id=st.none() | st.sampled_from(NTH), allow_missing=st.booleans()),
)
calls = st.tuples(st.lists(commands, min_size=1, max_size=4), st.sampled_from([False, False, False, True]))
"""What one caller asks for, and whether it is to be validated only."""


class Twins:
    """A workspace and a world in memory that are asked the same. The world's profile ids are used to speak of both."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self._world = World()
        self._stored: dict[ProfileId, ProfileId] = {}
        self._told: dict[ProfileId, ProfileId] = {}

    async def ask(self, group: list[tuple[list[Command], bool]]) -> None:
        """Ask the store all at once and the world one after the other, and compare their answers."""
        known = self._stored.keys()
        asked = [([_meant(command, known) for command in call], tried) for call, tried in group]
        stored = await asyncio.gather(
            *(self.tenant.batch(*map(self._translated, call), validate_only=tried) for call, tried in asked)
        )
        for (call, tried), results in zip(asked, stored, strict=True):
            expected = self._world.batch(*call, validate_only=tried)
            for answer, wanted in zip(results, expected, strict=True):
                if isinstance(answer, Answer) and isinstance(wanted, Answer):
                    self._match(answer.profile_id, wanted.profile_id)
                assert self._seen(answer) == _seen(wanted), call

    async def compare(self) -> None:
        """Compare all that can be read."""
        keys: list[Key] = [*IDS, *PAIRS, *self._stored]
        asked: list[Key] = [*IDS, *PAIRS, *self._stored.values()]
        graph, resolved = await self.tenant.look(*asked), await self.tenant.resolve(asked)
        assert resolved == {key: (found.id, found.primary) for key in asked if (found := graph.find(key))}
        expected = self._world.read(keys)
        for key in keys:
            found = graph.find(key if isinstance(key, Identifier) else self._stored[key])
            wanted = expected.find(key)
            if found is None or wanted is None:
                assert found is wanted, key
                continue
            renamed = found._replace(id=self._told[found.id], created_at=0, updated_at=0)
            assert renamed == wanted._replace(created_at=0, updated_at=0), key
        for profile, stored in self._stored.items():
            if self._world.survivors.get(profile) == profile:
                await self._compare_page(profile, stored)

    async def _compare_page(self, profile: ProfileId, stored: ProfileId) -> None:
        world = self._world
        page = await self.tenant.page(stored)
        found = [(identifier, self._told[link.origin], link.anonymous) for identifier, link in page.identifiers]
        assert found == sorted(
            (identifier, link.origin, link.anonymous)
            for identifier, link in world.links.items()
            if world.survivors[link.origin] == profile
        )
        losers = [change.loser for _, change in reversed(world.journal) if isinstance(change, Merged)]
        tombstones = [self._told[tombstone] for tombstone in page.tombstones]
        assert tombstones == [loser for loser in losers if world.survivors[loser] == profile]

    def _translated(self, command: Command) -> Command:
        match command:
            case Alias(user=user) if not isinstance(user, Identifier):
                return command._replace(user=self._stored.get(user, UNKNOWN))
            case DeleteAlias(profile_id=profile) if profile is not None:
                return command._replace(profile_id=self._stored.get(profile, UNKNOWN))
        return command

    def _match(self, stored: ProfileId | None, told: ProfileId | None) -> None:
        if stored is not None and told is not None:
            assert self._stored.setdefault(told, stored) == stored
            assert self._told.setdefault(stored, told) == told

    def _seen(self, result: Any) -> Any:
        match result:
            case Answer():
                ids = (result.profile_id, result.merged)
                profile, merged = (None if each is None else self._told[each] for each in ids)
                return result._replace(profile_id=profile, merged=merged)
            case AkaError():
                names = {uuid_text(stored): uuid_text(told) for stored, told in self._told.items()}
                return result.name, {name: names.get(value, value) for name, value in result.metadata.items()}
            case None:
                return None
        return self._told[result]


def _meant(command: Command, known: Any) -> Command:
    """Return the command with a profile id that none has, where it names one that is yet to be made."""
    match command:
        case Alias(user=user) if not isinstance(user, Identifier) and user not in known:
            return command._replace(user=UNKNOWN)
        case DeleteAlias(profile_id=profile) if profile is not None and profile not in known:
            return command._replace(profile_id=UNKNOWN)
    return command


def _seen(result: Any) -> Any:
    return (result.name, result.metadata) if isinstance(result, AkaError) else result


@settings(
    max_examples=max(settings.default.max_examples // 5, 1) if settings.default else 40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(groups=st.lists(st.lists(calls, min_size=1, max_size=8), min_size=1, max_size=6))
async def test_callers_at_once_get_what_they_would_get_one_after_the_other(
    backend: Backend, groups: list[list[tuple[list[Command], bool]]]
) -> None:
    twins = Twins(Tenant(backend.store, await backend.add_workspace(f"w-{next(_numbers)}")))
    for group in groups:
        await twins.ask(group)
    await twins.compare()


_numbers = iter(range(1_000_000))


async def test_sixty_callers_on_a_small_hot_set_lose_and_double_nothing(tenant: Tenant) -> None:
    hot = [f"hot-{number}" for number in range(6)]
    outcomes: Counter[int] = Counter()
    kept: set[Identifier] = set()
    gone: set[Identifier] = set()

    async def caller(number: int) -> None:
        random = Random(number)
        for step in range(8):
            own, card = f"own-{number}-{step}", pair(f"label-{number}-{step}", "x")
            results = await tenant.batch(
                alias(random.choice(hot), own, ALWAYS, create_missing=True),
                alias(random.choice(hot), random.choice(hot), ALWAYS, create_missing=True),
                create_alias(card, own),
                delete_alias(card) if step % 2 else alias(own, random.choice(hot), ALWAYS),
            )
            outcomes.update(result.outcome for result in results if isinstance(result, Answer))
            (gone if step % 2 else kept).add(card)
            kept.add(id_of(own))
            assert (await tenant.whose(own, card))[0] is not None

    await asyncio.gather(*map(caller, range(60)))
    identifiers = [*map(id_of, hot), *kept, *gone]
    found = dict(zip(identifiers, await tenant.whose(*identifiers), strict=True))
    assert not [identifier for identifier in kept if found[identifier] is None]
    assert not [identifier for identifier in gone if found[identifier] is not None]
    profiles = {profile for profile in found.values() if profile is not None}
    pages = [await tenant.page(profile) for profile in profiles]
    on_pages = [identifier for page in pages for identifier, _ in page.identifiers]
    assert sorted(on_pages) == sorted(identifier for identifier, profile in found.items() if profile is not None)
    assert sum(page.profile.identifiers for page in pages) == len(on_pages)
    assert sum(page.profile.tombstones for page in pages) == outcomes[v1.OUTCOME_MERGED]
    assert len(profiles) == outcomes[v1.OUTCOME_CREATED] - outcomes[v1.OUTCOME_MERGED]


async def test_callers_who_race_to_make_one_person_make_one(tenant: Tenant) -> None:
    results = await asyncio.gather(*(tenant.batch(alias("ann", "card", create_missing=True)) for _ in range(80)))
    outcomes = Counter(result[0].outcome for result in results)
    assert outcomes == {v1.OUTCOME_CREATED: 1, v1.OUTCOME_ALREADY_LINKED: 79}
    assert len({result[0].profile_id for result in results}) == 1


async def test_links_that_race_with_a_merge_of_their_profile_all_arrive(tenant: Tenant) -> None:
    for turn in range(5):
        ann, bob = f"ann-{turn}", f"bob-{turn}"
        steps = [alias(bob, f"card-{turn}-{number}") for number in range(30)]
        steps[15:15] = [alias(ann, bob, ALWAYS)]
        await tenant.batch(*(alias(user, f"{user}-card", create_missing=True) for user in (ann, bob)))
        results = await asyncio.gather(*(tenant.batch(step) for step in steps))
        assert not [result for result in results if isinstance(result[0], AkaError)]
        assert len(await tenant.identifiers(ann)) == 34
