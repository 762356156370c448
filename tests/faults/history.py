"""What clients did to a server and what they were told, held against what is there.

A *family* is a few identifiers that one caller alone changes, one call after the other, so that every acknowledged
call says exactly what must be there from then on. A call ends in one of three ways: acknowledged (it was done),
refused (nothing was changed) or unknown (done as a whole or not at all); a family whose last call is unknown may be
in either of two states until somebody looks.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import ChainMap, Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import quote

from google.protobuf.message import Message

from aka.v1 import alias_service_pb2 as v1

Name = tuple[str, str]
"""A label and a name; an id has the empty label."""

Resolve = Callable[[Sequence[v1.Identifier]], Awaitable[Sequence[v1.Resolution]]]

RESOLVED_AT_ONCE = 1000


class End(Enum):
    """How a call ended, as its caller must see it."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Kind(Enum):
    """What can be wrong with a server's state, or with its answers."""

    LOST = "lost"
    DOUBLED = "doubled"
    REFUSED_DONE = "refused that took effect"
    TORN = "half done"
    WRONG = "wrong answer"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must not be."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class State:
    """What a family's identifiers add up to. Profiles have names of the test's own, such as `f7.user`."""

    owner: dict[Name, str] = field(default_factory=dict)
    primary: dict[str, str] = field(default_factory=dict)
    """A profile's primary id; empty while it is anonymous."""
    into: dict[str, str] = field(default_factory=dict)
    """A tombstone and the profile that it was merged into."""
    changes: Counter[str] = field(default_factory=Counter)
    """Entries of the journal, by kind."""

    def create(self, profile: str, name: Name, *, primary: bool = False) -> State:
        """A new profile with one identifier."""
        known = {**self.primary, profile: name[1] if primary else ""}
        return replace(self, owner={**self.owner, name: profile}, primary=known, changes=self._one_more("created"))

    def link(self, profile: str, name: Name) -> State:
        """One more identifier of a profile."""
        return replace(self, owner={**self.owner, name: profile}, changes=self._one_more("linked"))

    def unlink(self, name: Name) -> State:
        """One identifier less."""
        left = {other: profile for other, profile in self.owner.items() if other != name}
        return replace(self, owner=left, changes=self._one_more("unlinked"))

    def identify(self, profile: str, primary: str) -> State:
        """A profile gets its primary id."""
        return replace(self, primary={**self.primary, profile: primary}, changes=self._one_more("identified"))

    def merge(self, loser: str, survivor: str) -> State:
        """A profile becomes another's tombstone."""
        return replace(self, into={**self.into, loser: survivor}, changes=self._one_more("merged"))

    def survivor(self, profile: str) -> str:
        """The living profile that a profile is, or was merged into."""
        while profile in self.into:
            profile = self.into[profile]
        return profile

    def profiles(self) -> set[str]:
        """Every profile that the state speaks of, tombstones too."""
        return {*self.owner.values(), *self.primary, *self.into, *self.into.values()}

    def _one_more(self, kind: str) -> Counter[str]:
        return self.changes + Counter({kind: 1})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason that a call or an item must be refused with."""

    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """A call that a family makes next."""

    method: str
    request: Message
    after: State
    """The family's state if the call is done."""
    expected: Sequence[str | Refusal]
    """For each item (a single call is one) the profile that the answer must name, or the refusal."""
    names: Sequence[Name]
    """Every identifier that the request names and that is the family's own."""

    @property
    def request_id(self) -> str:
        """The request's `request_id`; empty where it has none."""
        return str(getattr(self.request, "request_id", ""))


@dataclass(slots=True)
class Call:
    """A call as its caller recorded it."""

    id: int
    family: Family
    step: Step
    started: float
    deadline: float | None = None
    ended: float = 0.0
    end: End = End.UNKNOWN
    reason: str = ""
    """ErrorInfo's reason, or else the status; empty where the call was acknowledged."""
    answer: Message | None = None


@dataclass(slots=True)
class Family:
    """Some identifiers that one caller alone changes."""

    name: str
    state: State = field(default_factory=State)
    names: set[Name] = field(default_factory=set)
    """Every identifier that any of its calls named."""
    open: Call | None = None
    """The call whose outcome is unknown; the family makes no other until somebody looked."""
    moved: bool = False
    """When somebody looked, that call turned out to have been done."""

    def states(self) -> list[State]:
        """The states that it may be in."""
        if self.open is None or self.open.step.after == self.state:
            return [self.state]
        return [self.state, self.open.step.after]


class History:
    """All calls of all families, and what must be true because of them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.families: list[Family] = []
        self.faults: list[Fault] = []
        self.profile_ids: dict[str, str] = {}
        """The profile ids that the test's own names for profiles turned out to stand for."""
        self.injected = 0
        """Faults that the test injected."""
        self.served_at: list[float] = []
        """When a server answered that had been ill-treated."""

    def family(self) -> Family:
        """Start a new family."""
        family = Family(f"f{len(self.families)}")
        self.families.append(family)
        return family

    def begin(self, family: Family, step: Step, timeout: float | None) -> Call:
        """Record that a family makes a call. Until its end is recorded it is unknown."""
        assert family.open is None, "a family makes one call at a time"
        now = time.monotonic()
        call = Call(len(self.calls), family, step, now, None if timeout is None else now + timeout)
        self.calls.append(call)
        family.names.update(step.names)
        family.open = call
        return call

    def acknowledge(self, call: Call, answer: Message) -> None:
        """Record an OK answer, and whether it is the right one."""
        call.end, call.reason, call.answer, call.ended = End.ACKNOWLEDGED, "", answer, time.monotonic()
        self._hold_to(call, answer)
        call.family.state = call.step.after
        call.family.open = None

    def refuse(self, call: Call, reason: str) -> None:
        """Record an answer that promises that nothing was changed."""
        call.end, call.reason, call.ended = End.REFUSED, reason, time.monotonic()
        call.family.open = None

    def lose_sight(self, call: Call, reason: str) -> None:
        """Record that a call ended without telling what it did."""
        call.end, call.reason, call.ended = End.UNKNOWN, reason, time.monotonic()

    async def look(self, resolve: Resolve) -> None:
        """Resolve all that every family ever named and compare; families with an unknown call find their state."""
        wanted: list[v1.Identifier] = []
        questions: list[tuple[Family, list[Name], list[str]]] = []
        known = self.profile_ids
        for family in self.families:
            names = sorted(family.names)
            tombstones = sorted({profile for state in family.states() for profile in state.into if profile in known})
            wanted += [_identifier(name) for name in names]
            wanted += [v1.Identifier(profile_id=self.profile_ids[profile]) for profile in tombstones]
            questions.append((family, names, tombstones))
        found: list[v1.Resolution] = []
        for start in range(0, len(wanted), RESOLVED_AT_ONCE):
            found += await resolve(wanted[start : start + RESOLVED_AT_ONCE])
            await asyncio.sleep(0)
        answers = iter(found)
        for family, names, tombstones in questions:
            there = {name: next(answers) for name in names}
            self._judge(family, there, {profile: next(answers) for profile in tombstones})

    def count(self, database: Path) -> None:
        """Compare the rows of a SQLite file, read beside the server, with what all families add up to."""
        self.compare(_rows(database))

    def compare(self, have: Counter[str]) -> None:
        """Compare the numbers of a database's rows, by what they are, with what all families add up to.

        Every family must have been looked at since its last unknown call.
        """
        self.assert_sound()
        want: Counter[str] = Counter()
        for family in self.families:
            assert family.open is None, f"{family.name} is not settled"
            want += Counter({f"journal: {kind}": number for kind, number in family.state.changes.items()})
            want["identifiers"] += len(family.state.owner)
            want["profiles"] += family.state.changes["created"]
            want["tombstones"] += family.state.changes["merged"]
        done_once = {call.step.request_id for call in self.calls if call.end is End.ACKNOWLEDGED}
        want["kept answers"] = len(done_once - {""})
        for what in sorted({*want, *have}):
            if have[what] != want[what]:
                kind = Kind.DOUBLED if have[what] > want[what] else Kind.LOST
                self.faults.append(Fault(kind, f"{what}: there are {have[what]}, and should be {want[what]}"))

    def done_at(self, database: Path) -> dict[int, int]:
        """When the calls that changed anything were done, by call, in microseconds since the epoch.

        Calls that were done together, in one group, were done at the same time.
        """
        calls = {journal_name(call.id): call.id for call in self.calls}
        with closing(_open(database)) as connection:
            entries = connection.execute("SELECT DISTINCT request, at FROM journal").fetchall()
        return {calls[request]: at for request, at in entries if request in calls}

    def serves_again(self) -> None:
        """Record that a server that had been ill-treated answers."""
        self.served_at.append(time.monotonic())

    def ended(self, end: End) -> int:
        """The number of calls that ended so."""
        return sum(call.end is end for call in self.calls)

    def acknowledged(self) -> int:
        """The number of calls that were acknowledged."""
        return self.ended(End.ACKNOWLEDGED)

    def reasons(self) -> Counter[str]:
        """Why calls failed that the rules do not refuse."""
        return Counter(
            call.reason for call in self.calls if call.reason and Refusal(call.reason) not in call.step.expected
        )

    def failed_for(self) -> float:
        """The longest time, in seconds, without a good answer: from when a call began that failed for no rule's sake,
        or from the last good answer before it failed, to the next good answer.
        """
        ended = [(at, at, True) for at in self.served_at]
        for call in self.calls:
            if call.ended and (call.end is End.ACKNOWLEDGED or Refusal(call.reason) not in call.step.expected):
                ended.append((call.ended, call.started, call.end is End.ACKNOWLEDGED))
        longest, since, good = 0.0, None, 0.0
        for at, began, well in sorted(ended):
            if not well:
                since = max(began, good) if since is None else min(since, max(began, good))
            else:
                longest, since, good = max(longest, 0.0 if since is None else at - since), None, at
        return longest

    def wrong(self, kind: Kind) -> int:
        """The number of faults of a kind."""
        return sum(fault.kind is kind for fault in self.faults)

    def assert_sound(self) -> None:
        """Fail where anything was lost, doubled, half done, done though refused, or answered wrongly."""
        shown = "\n".join(f"{fault.kind.value}: {fault.text}" for fault in self.faults[:30])
        assert not self.faults, f"{len(self.faults)} faults\n{shown}"

    def _hold_to(self, call: Call, answer: Message) -> None:
        items: Sequence[v1.ItemResult] | None = getattr(answer, "results", None)
        told: list[str | Refusal] = []
        if items is None:
            told.append(str(getattr(answer, "profile_id", "")))
        else:
            for item in items:
                refused = item.WhichOneof("result") == "error"
                told.append(Refusal(_reason(item.reason)) if refused else item.profile_id)
        if len(told) != len(call.step.expected):
            self._wrong(call, f"{len(told)} results for {len(call.step.expected)} items")
            return
        for got, expected in zip(told, call.step.expected, strict=True):
            if isinstance(expected, Refusal) or isinstance(got, Refusal):
                if got != expected:
                    self._wrong(call, f"answered {got}, expected {expected}")
            elif not got and getattr(call.step.request, "allow_missing", False):
                continue  # it was gone already, so nobody's profile can be named
            elif self.profile_ids.setdefault(expected, got) != got:
                self._wrong(call, f"names profile {got}; {expected} is {self.profile_ids[expected]}")

    def _wrong(self, call: Call, text: str) -> None:
        self.faults.append(Fault(Kind.WRONG, f"call {call.id} ({call.step.method} of {call.family.name}) {text}"))

    def _judge(self, family: Family, there: dict[Name, v1.Resolution], tombstones: dict[str, v1.Resolution]) -> None:
        states = family.states()
        for state in reversed(states):  # the later first: where both fit, nothing tells them apart
            ids = ChainMap[str, str]({}, self.profile_ids)
            if not list(_differences(state, there, tombstones, ids)):
                self.profile_ids.update(ids.maps[0])
                family.moved = family.open is not None and state is not family.state
                family.state = state
                return
        differences = list(_differences(states[0], there, tombstones, ChainMap({}, self.profile_ids)))
        unknown = "" if family.open is None else f" (call {family.open.id}, {family.open.step.method}, is unknown)"
        for difference in differences:
            kind = Kind.TORN if len(states) > 1 else difference.kind
            self.faults.append(Fault(kind, f"{family.name}: {difference.text}{unknown}"))


def _differences(
    state: State, there: dict[Name, v1.Resolution], tombstones: dict[str, v1.Resolution], ids: MutableMapping[str, str]
) -> Iterable[Fault]:
    """What is not as the state says. Ids of profiles that were not known are added to `ids`."""
    seen: dict[str, str] = {}
    for name, found in there.items():
        profile = state.owner.get(name)
        if profile is None:
            if found.found:
                yield Fault(Kind.REFUSED_DONE, f"{name} is there, and nothing acknowledged put it there")
            continue
        if not found.found:
            yield Fault(Kind.LOST, f"{name} of {profile} is not there")
            continue
        survivor = state.survivor(profile)
        expected = ids.setdefault(survivor, found.profile_id)
        if found.profile_id != expected:
            yield Fault(Kind.LOST, f"{name} is on {found.profile_id} and was acknowledged on {expected} ({survivor})")
        if seen.setdefault(found.profile_id, survivor) != survivor:
            yield Fault(Kind.REFUSED_DONE, f"{survivor} and {seen[found.profile_id]} are one profile")
        primary = state.primary.get(survivor, "")
        if survivor in state.primary and (found.user_id, found.identified) != (primary, bool(primary)):
            yield Fault(Kind.LOST, f"{survivor}: its primary id is {found.user_id!r} and should be {primary!r}")
        if found.redirected_from:
            yield Fault(Kind.WRONG, f"{name} is said to redirect from {found.redirected_from}")
    for profile, found in tombstones.items():
        merged = profile in state.into
        expected = ids.get(state.survivor(profile), found.profile_id)
        if not found.found:
            yield Fault(Kind.LOST, f"profile {profile} ({ids[profile]}) is not there")
        elif (found.profile_id, found.redirected_from) != (expected, ids[profile] if merged else ""):
            yield Fault(Kind.LOST, f"{profile} leads to {found.profile_id} and should lead to {expected}")


def journal_name(call: int) -> str:
    """The x-request-id of a call, which the journal keeps."""
    return f"call-{call}"


KINDS: Final = "SELECT kind, count(*) FROM journal GROUP BY kind"
NUMBERS: Final = {
    "identifiers": "SELECT count(*) FROM identifiers",
    "profiles": "SELECT count(*) FROM profiles",
    "tombstones": "SELECT count(*) FROM profiles WHERE survivor <> id",
    "kept answers": "SELECT count(*) FROM answers",
}
"""What is counted in a database, whichever it is."""


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)


def _rows(database: Path) -> Counter[str]:
    with closing(_open(database)) as connection:
        have = Counter({f"journal: {kind}": number for kind, number in connection.execute(KINDS)})
        for what, query in NUMBERS.items():
            (have[what],) = connection.execute(query).fetchone()
        return have


def _identifier(name: Name) -> v1.Identifier:
    label, value = name
    if not label:
        return v1.Identifier(id=value)
    return v1.Identifier(user_alias=v1.UserAlias(alias_label=label, alias_name=value))


def _reason(reason: v1.ErrorReason.ValueType) -> str:
    return v1.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
