"""Is there an order of the operations that explains every answer? A search after Wing and Gong.

A history is linearizable (Herlihy and Wing, 1990) where each operation can be given a moment between its beginning and
its end, so that a model that is asked in the order of these moments answers just as the service did. An operation
whose outcome is unknown has its moment at any time after its beginning, or never.

The search walks through a history from event to event and keeps every state that the service may be in: the operations
under way that have had their moment, and the world that it led to. Equal states are one (Lowe, 2017). An operation gets
its moment as late as can be, when it or another one ends; but where it changes nothing and its answer fits, it gets it
at once, which leaves open all that was open. Where an end leaves no state, no order explains the history so far.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from google.rpc.error_details_pb2 import ErrorInfo

from aka.v1 import alias_service_pb2 as v1
from tests.histories.operations import Operation, named_profiles, shown
from tests.histories.worlds import Change, Lookup, Page, World, asked

STATES: Final = 200_000
"""States that a search may look at: a minute's work."""

_READS: Final = frozenset({"Resolve", "GetProfile"})
_NOTHING_DONE: Final = frozenset({"CONFLICT", "OVERLOADED", "RATE_LIMITED", "STORE_UNAVAILABLE"})
"""Refusals that no rule asks for. Nothing comes of such a call, and it tells nothing."""

_State = tuple[int, Any]
"""The operations under way that have had their moment, a bit each by their number, and the world's key."""


class NotLinearizable(AssertionError):
    """No order explains the answers."""


class Undecided(AssertionError):
    """The search had to end before it knew."""


def assert_linearizable(operations: Sequence[Operation], *, most: int, states: int = STATES) -> int:
    """Return how many states were looked at; fail where no order explains the answers, or where `states` do not tell.

    `most` is how many identifiers and tombstones a profile may have. The failure shows operations that have no order.
    """
    looked_at = 0
    for part in independent(telling(operations)):
        search = _Search(part, most, states)
        if (stuck := search.stuck()) is not None:
            few = _fewer(part, stuck, most, states)
            raise NotLinearizable(f"no order explains these {len(few)} of {len(part)} operations\n{shown(few)}")
        looked_at += search.looked_at
    return looked_at


def independent(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Part the operations by what they name; each part is explained, or is not, whatever the others are."""
    parts: list[tuple[set[object], list[Operation]]] = []
    for operation in operations:
        names, part = _names(operation), [operation]
        apart = []
        for other_names, other in parts:
            if names.isdisjoint(other_names):
                apart.append((other_names, other))
            else:
                names |= other_names
                part = other + part
        parts = [*apart, (names, part)]
    return [part for _, part in parts]


def telling(operations: Sequence[Operation]) -> list[Operation]:
    """Leave out what tells nothing: reads without an answer, and calls that were never done."""
    return [
        each
        for each in operations
        if not (each.answer is None and each.method in _READS)
        and not (isinstance(each.answer, ErrorInfo) and each.answer.reason in _NOTHING_DONE)
    ]


def _names(operation: Operation) -> set[object]:
    """All that an operation's moment may depend on: identifiers, profiles, the request id."""
    named: set[object] = {UUID(id_) for id_ in named_profiles(operation.request) + named_profiles(operation.answer)}
    match asked(operation):
        case Lookup(keys):
            named |= set(keys)
        case Page(key):
            named.add(key)
        case Change(commands, once=once):
            named |= {key for command in commands for key in command.keys} | ({once} if once else set())
    return named


class _Path(NamedTuple):
    """A state and how it was come to."""

    state: _State
    steps: Sequence[tuple[_State, int]] = ()
    """The operations that got their moment, each with the state before it."""


class _Search:
    """The states that a service may be in, from one event of a history to the next."""

    def __init__(self, operations: Sequence[Operation], most: int, states: int) -> None:
        world = World.empty(most)
        self.looked_at = 0
        self._most_states = states
        self._operations = operations
        self._asked = [asked(each) for each in operations]
        self._known: dict[tuple[Any, int], World | None] = {}
        self._worlds: dict[Any, World] = {world.key: world}
        self._under_way: list[int] = []
        self._states: set[_State] = {(0, world.key)}

    def stuck(self) -> Operation | None:
        """Return the operation at whose end no state is left; None where the whole history is explained."""
        events = [(each.began, 0, number) for number, each in enumerate(self._operations)]
        events += [(each.ended, 1, number) for number, each in enumerate(self._operations) if each.answer is not None]
        for _, ends, number in sorted(events):
            if not ends:
                self._under_way.append(number)
                self._states = {self._settled(state, [number]) for state in self._states}
                continue
            self._end(number)
            if not self._states:
                return self._operations[number]
        return None

    def _end(self, number: int) -> None:
        """Give an operation its moment in every state, and to others before it where that makes a difference."""
        ended: set[_State] = set()
        todo = [_Path(state) for state in self._states]
        seen = set(self._states)
        while todo:
            path = todo.pop()
            self._look()
            if path.state[0] >> number & 1:
                if not self._is_hasty(path, number):
                    ended.add(path.state)
                continue
            for other in self._under_way:
                state = self._step(path.state, other)
                if state is not None and state not in seen:
                    seen.add(state)
                    todo.append(_Path(state, (*path.steps, (path.state, other))))
        self._under_way.remove(number)
        self._states = {(done ^ 1 << number, world) for done, world in ended}

    def _is_hasty(self, path: _Path, number: int) -> bool:
        """Whether one of the others could as well have its moment after the operation: that leaves more open."""
        done, world = path.state
        for at, (before, hasty) in enumerate(path.steps):
            lazy = self._walked(before, [other for _, other in path.steps[at + 1 :]])
            if lazy is None or lazy[0] >> hasty & 1 or not lazy[0] >> number & 1:
                continue
            later = self._walked(lazy, [hasty])
            if later is not None and later[1] == world and not done & ~later[0]:
                return True
        return False

    def _walked(self, state: _State, numbers: Iterable[int]) -> _State | None:
        """Give operations their moment one after the other, whether they change anything or not."""
        for number in numbers:
            if state[0] >> number & 1:
                continue
            after = self._after(state[1], number)
            if after is None:
                return None
            state = self._settled((state[0] | 1 << number, after.key), self._under_way)
        return state

    def _step(self, state: _State, number: int) -> _State | None:
        """Give an operation its moment, if it fits and changes something, and then those that it makes fit."""
        done, world = state
        after = None if done >> number & 1 else self._after(world, number)
        if after is None or after.key == world:
            return None
        return self._settled((done | 1 << number, after.key), self._under_way)

    def _settled(self, state: _State, numbers: Iterable[int]) -> _State:
        """Give the operations their moment that fit and change nothing."""
        done, world = state
        for number in numbers:
            if not done >> number & 1 and self._operations[number].answer is not None:
                after = self._after(world, number)
                if after is not None and after.key == world:
                    done |= 1 << number
        return done, world

    def _look(self) -> None:
        self.looked_at += 1
        if self.looked_at > self._most_states:
            raise Undecided(f"{len(self._operations)} operations: {self._most_states} states do not tell")

    def _after(self, world: Any, number: int) -> World | None:
        step = world, number
        if step not in self._known:
            after = self._worlds[world].after(self._asked[number])
            self._known[step] = after and self._worlds.setdefault(after.key, after)
        return self._known[step]


def _fewer(operations: Sequence[Operation], stuck: Operation, most: int, states: int) -> Sequence[Operation]:
    """Leave out operations without which there is no order either.

    What began later than the end that left no state goes, and so does what changed nothing: where all operations have
    an order, so have all but some of these.
    """
    few = [each for each in operations if each.began < stuck.ended]
    size = len(few)
    while size:
        at = 0
        while at < len(few):
            fewer = [*few[:at], *(each for each in few[at : at + size] if not _idle(each)), *few[at + size :]]
            if len(fewer) < len(few) and _has_no_order(fewer, most, states):
                few = fewer
            else:
                at += size
        size //= 2
    return few


def _has_no_order(operations: Sequence[Operation], most: int, states: int) -> bool:
    try:
        return _Search(operations, most, states).stuck() is not None
    except Undecided:
        return False


def _idle(operation: Operation) -> bool:
    """Whether an operation changed nothing, whenever it had its moment."""
    change = asked(operation)
    if not isinstance(change, Change):
        return True
    return change.told is not None and (
        change.trying or all(told.reason or told.outcome == v1.OUTCOME_ALREADY_LINKED for told in change.told)
    )
