"""Random sequences of every command, alone, batched and grouped, held against the naive model."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from itertools import product
from typing import Any, Final, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aka.server.domain.alias import Alias
from aka.server.domain.create_aliases import CreateAlias
from aka.server.domain.delete_alias import DeleteAlias
from aka.server.domain.identifiers import Identifier, Key, ProfileId, id_of, uuid_text
from aka.server.domain.identify import Identify
from aka.server.domain.import_link import ImportLink
from aka.server.domain.joining import Joining
from aka.server.domain.journal import Counts, History
from aka.server.domain.reserved import ReservedList
from aka.server.domain.rules import Answer, Rules
from aka.server.errors import AkaError
from aka.server.store.deciding import Call, Results
from aka.v1 import alias_service_pb2 as v1
from tests.domain.model import Answer as Expected
from tests.domain.model import Command, Model, Profile, Refused
from tests.domain.world import UNKNOWN, World, call, pair, profile_id

# So few of each that most commands meet what an earlier one did.
RESERVED: Final = frozenset({"null"})
IDS: Final = [id_of(name) for name in ("a", "b", "c", "d", "e", "f", "null")]
PAIRS: Final = [pair(label, name) for label in ("crm", "tax") for name in ("1", "a")]
NTH: Final = [profile_id(number) for number in range(4)]
"""Each stands for one of the profiles there are, a tombstone perhaps; the first for an unknown one."""
UNSET: Final = Rules(0, ReservedList())
"""Stands for the rules in force."""

C = TypeVar("C", bound=Command)


def _drawn(every: Sequence[C]) -> st.SearchStrategy[C]:
    return st.integers(0, len(every) - 1).map(lambda number: every[number])


# Every command that there is over these: to draw one of all is much faster than to draw its parts. What is listed
# twice is drawn twice as often.
EITHER: Final = False, True
MOSTLY: Final = [*IDS[:-1], *IDS]
USERS: Final[list[Key]] = [*MOSTLY, *NTH]
SELF: Final = IDS[0]
aliases = _drawn(
    [
        Alias(user, alias, policy, create_missing, may_merge, UNSET)
        for may_merge in (True, True, False)
        for user, alias, policy, create_missing in product(USERS, MOSTLY, v1.MergePolicy.values(), EITHER)
        if user != alias or user == SELF
    ]
)
identifies = _drawn(
    [
        Identify(external, subject, orphan, UNSET)
        for external, subject, orphan in product(MOSTLY, [None, *IDS, *PAIRS, *PAIRS], EITHER)
        if external != subject or subject == SELF
    ]
)
create_aliases = _drawn(
    [
        CreateAlias(external, alias, UNSET)
        for external, alias in product([None, *MOSTLY], [*IDS, *PAIRS, *PAIRS])
        if external != alias or alias == SELF
    ]
)
delete_aliases = _drawn(
    [DeleteAlias(*parts) for parts in product([*IDS, *PAIRS, *PAIRS], [*[None] * 12, *NTH], EITHER)]
)
import_links = _drawn(
    [
        ImportLink(profile, user, alias, anonymous and alias is not None and alias.is_id, Joining(*joining), UNSET)
        for joining in product(v1.MergePolicy.values(), EITHER)
        for profile, user, alias, anonymous in product([None, *NTH], [None, *IDS], [None, *IDS, *PAIRS], EITHER)
        if (user or alias) is not None and (user != alias or user == SELF)
    ]
)
commands: st.SearchStrategy[Command] = st.one_of(aliases, identifies, create_aliases, delete_aliases, import_links)
batches: st.SearchStrategy[Sequence[Command]] = st.one_of(
    st.lists(aliases, min_size=2, max_size=6),
    st.lists(identifies, min_size=2, max_size=6),
    st.lists(create_aliases, min_size=2, max_size=6),
    st.lists(import_links, min_size=2, max_size=6),
)
callers = st.tuples(
    st.lists(commands, min_size=1, max_size=1) | batches | st.tuples(delete_aliases),
    st.sampled_from([False, False, False, True]),
)
"""What one caller asks for, and whether it is to be validated only."""


class Service(RuleBasedStateMachine):
    """A world and a model that are asked the same."""

    @initialize(
        cap=st.sampled_from([1000, 1000, 5, 3]),
        preloads=st.booleans(),
        strangers=st.lists(st.sampled_from(IDS + PAIRS), max_size=8, unique=True),
    )
    def begin(self, cap: int, preloads: bool, strangers: list[Identifier]) -> None:
        self.in_force = Rules(cap, ReservedList(exactly=RESERVED))
        self.model = Model(cap, RESERVED)
        self.world = World()
        self.world.preloads = preloads
        self.history = History()
        self.summed_up = 0
        self.states: list[tuple[int, Any]] = [(0, _told(self.history))]
        """How long the journal was after each step, and what it added up to."""
        for stranger in strangers:
            self._ask([CreateAlias(None, stranger, UNSET)])

    @rule(command=commands)
    def one(self, command: Command) -> None:
        self._ask([command])

    @rule(batch=batches)
    def batch(self, batch: Sequence[Command]) -> None:
        self._ask(batch)

    @rule(group=st.lists(callers, min_size=2, max_size=5))
    def group(self, group: list[tuple[Sequence[Command], bool]]) -> None:
        group = [([self._meant(command) for command in commands], trying) for commands, trying in group]
        alone, results_alone = self._in_turn(group)
        results = self._run(*(call(*commands, validate_only=trying) for commands, trying in group))
        assert list(map(_seen, results)) == list(map(_seen, results_alone))
        assert self.world.state == alone.state
        for (commands, trying), each in zip(group, results, strict=True):
            self._compare(commands, each, validate_only=trying)

    def _in_turn(self, group: list[tuple[Sequence[Command], bool]]) -> tuple[World, list[Results]]:
        """Run what will be run as a group one by one, in a copy of the world."""
        world = self.world.copy()
        world.preloads = not self.world.preloads
        results: list[Results] = []
        for commands, trying in group:
            parts = [commands] if trying else [[command] for command in commands]
            results.append([])
            for part in parts:
                world.now = self.world.now  # as in a group, where all has one time
                results[-1] += world.batch(*part, validate_only=trying)
        return world, results

    def _ask(self, batch: Sequence[Command]) -> None:
        """Try a batch, run it, and repeat what succeeded."""
        batch = [self._meant(command) for command in batch]
        before = self.world.state
        [tried] = self._run(call(*batch, validate_only=True))
        assert self.world.state == before, "validate_only changed something"
        [results] = self._run(call(*batch))
        made = self.world.survivors.keys() - before[1].keys()
        assert _seen(tried) == _seen([_without(result, made) for result in results])
        self._compare(batch, results, validate_only=False)
        after = self.world.state
        for command, result in zip(batch, results, strict=True):
            if not isinstance(result, AkaError):
                self._repeat(command)
        assert self.world.state == after, "a repeat changed something"

    def _repeat(self, command: Command) -> None:
        if isinstance(command, DeleteAlias):
            assert self.world.do(command._replace(allow_missing=True)) is None
        else:
            assert self.world.do(command).outcome == v1.OUTCOME_ALREADY_LINKED

    def _run(self, *calls: Call) -> list[Results]:
        results = self.world.group(*calls)
        self.model.now = self.world.now
        return results

    def _compare(self, commands: Sequence[Command], results: Results, *, validate_only: bool) -> None:
        """Ask the model the same, and want the same answers."""
        model = self.model.copy() if validate_only else self.model
        for command, result in zip(commands, results, strict=True):
            try:
                expected = model.run(command)
            except Refused as refused:
                assert isinstance(result, AkaError), f"{command} should have been {refused.reason}"
                assert result.name == refused.reason
                continue
            if isinstance(result, AkaError):
                raise AssertionError(f"{command} should have been {expected}") from result
            if not isinstance(expected, Expected):
                assert result == (expected.id if expected else None)
                continue
            if expected.profile.id is None and not validate_only:
                assert result.profile_id is not None
                assert model.find(result.profile_id) is None, "the profile id is another profile's"
                expected.profile.id = result.profile_id
            now, merged = (self._told(each, validate_only) for each in (expected.profile, expected.merged))
            assert result == Answer(expected.outcome, now, expected.user_id, merged)

    def _told(self, profile: Profile | None, validate_only: bool) -> ProfileId | None:
        """Return the profile id that an answer tells: none of what was only tried out."""
        if profile is None or profile.id is None or (validate_only and self.model.find(profile.id) is None):
            return None
        return profile.id

    def _meant(self, command: Command) -> Command:
        """Put the profile ids that there are for the numbers, and the rules in force."""
        match command:
            case DeleteAlias(profile_id=number):
                return command._replace(profile_id=None if number is None else self._made(number))
            case Alias(user=user) if not isinstance(user, Identifier):
                return command._replace(user=self._made(user), rules=self.in_force)
            case ImportLink(profile_id=number) if number is not None:
                return command._replace(profile_id=self._made(number), rules=self.in_force)
            case _:
                return command._replace(rules=self.in_force)

    def _made(self, number: ProfileId) -> ProfileId:
        made = list(self.world.survivors)
        return UNKNOWN if number == UNKNOWN or not made else made[int.from_bytes(number) * 7 % len(made)]

    # What holds after each step.

    @invariant()
    def every_key_resolves_as_in_the_model(self) -> None:
        keys: list[Key] = [*IDS, *PAIRS, UNKNOWN, *self.world.survivors]
        graph = self.world.read(keys)
        for key in keys:
            found, expected = graph.find(key), self.model.find(key)
            assert (found and found.id) == (expected and expected.id)

    @invariant()
    def no_identifier_is_lost_or_doubled_and_each_plays_its_part(self) -> None:
        expected = [
            (identifier, identifier in profile.anonymous_ids, profile.id)
            for profile in self.model.profiles
            for identifier in profile.identifiers
        ]
        stored = [
            (identifier, link.anonymous, self.world.survivors[link.origin])
            for identifier, link in self.world.links.items()
        ]
        assert sorted(expected) == sorted(stored)

    @invariant()
    def headers_are_true(self) -> None:
        headers = {id: header._replace(updated_at=0) for id, header in self.world.headers.items()}
        assert headers == {profile.id: _header(self.model, profile) for profile in self.model.profiles}

    @invariant()
    def the_primary_id_is_the_profiles_and_no_anonymous_id(self) -> None:
        for profile, header in self.world.headers.items():
            if header.primary is not None:
                link = self.world.links[id_of(header.primary)]
                assert self.world.survivors[link.origin] == profile
                assert not link.anonymous

    @invariant()
    def a_profile_has_one_name_a_label(self) -> None:
        labels = [
            (self.world.survivors[link.origin], identifier.label)
            for identifier, link in self.world.links.items()
            if not identifier.is_id
        ]
        assert len(set(labels)) == len(labels)

    @invariant()
    def every_survivor_is_one_step_away_and_lives(self) -> None:
        assert set(self.world.survivors.values()) == self.world.headers.keys()
        assert all(self.world.survivors[survivor] == survivor for survivor in self.world.survivors.values())

    @invariant()
    def the_journal_alone_adds_up_to_the_graph(self) -> None:
        for at, change in self.world.journal[self.summed_up :]:
            self.history.apply(change, at)
        self.summed_up = len(self.world.journal)
        self.states.append((self.summed_up, _told(self.history)))
        history, world = self.history, self.world
        assert history.links == world.links
        assert history.survivors() == world.survivors
        counts = history.counts()
        for id, header in world.headers.items():
            record = history.profiles[id]
            assert (record.primary, record.created_at, record.updated_at) == (
                header.primary,
                header.created_at,
                header.updated_at,
            )
            assert counts[id] == Counts(header.identifiers, header.user_aliases, header.tombstones)
        parents = {id: (record.parent, record.orphaned) for id, record in history.profiles.items() if record.parent}
        assert parents == {
            tombstone.profile.id: (tombstone.into.id, tombstone.orphaned) for tombstone in self.model.tombstones
        }
        assert all(history.profiles[tombstone].primary is None for tombstone in parents)
        assert all(counts[tombstone] == Counts() for tombstone in parents)

    def teardown(self) -> None:
        """Take everything back, and pass through each earlier state."""
        if not hasattr(self, "history"):
            return
        journal = self.world.journal[: self.summed_up]
        for length, state in reversed(self.states):
            while len(journal) > length:
                self.history.take_back(journal.pop()[1])
            assert _told(self.history) == state


def _header(model: Model, profile: Profile) -> tuple[Any, ...]:
    primary = profile.primary.name if profile.primary else None
    counts = len(profile.identifiers), len(profile.labels), len(model.tombstones_of(profile))
    return (profile.id, primary, *counts, profile.created_at, 0)


def _told(history: History) -> Any:
    """Return all that a history holds but when profiles were last updated."""
    records = {id: astuple(replace(record, updated_at=0)) for id, record in history.profiles.items()}
    return history.links.copy(), records


def _seen(results: Results) -> Results:
    """Return what the caller would see, as values that compare."""
    return [
        (result.reason, result.message, result.metadata) if isinstance(result, AkaError) else result
        for result in results
    ]


def _without(result: Any, made: set[ProfileId]) -> Any:
    """Return what validate_only would answer: the same, with the ids of what would be made left empty."""
    if isinstance(result, Answer):
        return result.without(made)
    if isinstance(result, AkaError):
        texts = {uuid_text(id) for id in made}
        metadata = {name: value for name, value in result.metadata.items() if value not in texts}
        return AkaError(result.reason, result.text, **metadata)
    return result


TestService = pytest.mark.timeout(600)(Service.TestCase)
TestService.settings = settings(stateful_step_count=25)
