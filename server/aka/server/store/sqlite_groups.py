"""What is done on a connection to SQLite in one piece: a group of changes, or of reads."""

import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from time import perf_counter
from typing import Any, Final, NamedTuple

from aka.server.domain.changes import Change, Merged
from aka.server.domain.graph import Profile
from aka.server.domain.identifiers import Key
from aka.server.errors import AkaError
from aka.server.metrics import Phase
from aka.server.store.deciding import Call, Decided, Verdict, decide, new_profile_id
from aka.server.store.lookups import Data, Links, Lookup, Page
from aka.server.store.sqlite_changes import write
from aka.server.store.sqlite_connection import TooLong
from aka.server.store.sqlite_data import load_data, load_holdings
from aka.server.store.sqlite_file import roll_back
from aka.server.store.sqlite_graph import load, load_kept, load_labels, load_links, load_page
from aka.server.store.sqlite_resolve import resolve
from aka.server.store.store import ANSWERS_ARE_KEPT_FOR, Living, Workspace

FEW: Final = 200
"""Rows beyond its decisions' own that a brief group may touch: they take a few milliseconds."""


class Errand(NamedTuple):
    """A change of something else than the graph. It may run again; where it raises AkaError it has written nothing."""

    do: Callable[[sqlite3.Connection], Any]

    def result(self, connection: sqlite3.Connection) -> Any:
        """Return what it returns, or the AkaError that it raises."""
        try:
            return self.do(connection)
        except AkaError as refusal:
            return refusal


class _Allowance:
    """How many rows a group may yet touch beyond its decisions' own: labels, and tombstones that merges point."""

    def __init__(self, rows: float) -> None:
        self._rows = rows

    def take(self, profiles: Iterable[Profile | None]) -> None:
        """Take what work on all rows of these profiles needs; TooLong where that is more than there is."""
        self._rows -= sum(profile.user_aliases + profile.tombstones for profile in profiles if profile is not None)
        if self._rows < 0:
            raise TooLong


class Done(NamedTuple):
    """What a group came to, before it is committed."""

    results: Sequence[Any]
    kinds: Counter[type[Change]]
    """How many changes of each kind it made."""
    changes: Sequence[tuple[Workspace, Sequence[Change]]]
    """The changes of each call, in order."""
    phases: list[Phase]


def change(connection: sqlite3.Connection, group: Sequence[Call | Errand], now: int, *, brief: bool) -> Done:
    """Load, decide and write a group of changes, at the time `now`, and run its errands.

    Where it is to be `brief`, it raises TooLong rather than touch more than `FEW` rows beyond its decisions' own.
    """
    calls = [piece for piece in group if isinstance(piece, Call)]
    verdicts: dict[int, Verdict] = {}
    allowance = _Allowance(FEW if brief else math.inf)
    kinds: Counter[type[Change]] = Counter()
    changes: list[tuple[Workspace, Sequence[Change]]] = []
    phases: list[Phase] = []
    for workspace, places in _by_workspace(calls).items():
        decided = _run(connection, workspace, [calls[place] for place in places], now, allowance, phases)
        for _, made in decided.journal:
            kinds.update(map(type, made))
            changes.append((workspace, made))
        verdicts.update(zip(places, decided.verdicts, strict=True))
    in_order = iter([verdicts[place] for place in range(len(calls))])
    results = [next(in_order) if isinstance(piece, Call) else piece.result(connection) for piece in group]
    return Done(results, kinds, changes, phases)


def look_up(connection: sqlite3.Connection, workspace: Workspace, keys: Collection[Key]) -> dict[Key, Living]:
    """Return whose the keys are, in one snapshot."""
    if len(keys) == 1:  # which is one statement, and so one snapshot
        return resolve(connection, workspace, keys)
    connection.execute("BEGIN")
    try:
        return resolve(connection, workspace, keys)
    finally:
        roll_back(connection)


def read(connection: sqlite3.Connection, reads: Sequence[Lookup | Page | Links | Data]) -> Sequence[Any]:
    """Return what a group of reads finds, all in one snapshot."""
    connection.execute("BEGIN")  # one snapshot for all
    try:
        results: dict[int, Any] = {}
        for workspace, places in _by_workspace(reads).items():
            lookups = {}
            for place in places:
                each = reads[place]
                if isinstance(each, Lookup):
                    lookups[place] = each
                elif isinstance(each, Data):
                    results[place] = load_data(connection, each)
                elif isinstance(each, Links):
                    results[place] = load_links(connection, workspace, each.after, each.limit)
                else:
                    results[place] = load_page(connection, workspace, each.key, each.after, each.limit)
            keys = dict.fromkeys(key for lookup in lookups.values() for key in lookup.keys)
            results.update(dict.fromkeys(lookups, resolve(connection, workspace, keys)))
        return [results[place] for place in range(len(reads))]
    finally:
        roll_back(connection)


def _by_workspace(calls: Sequence[Call | Lookup | Page | Links | Data]) -> dict[Workspace, list[int]]:
    places: dict[Workspace, list[int]] = {}
    for place, call in enumerate(calls):
        places.setdefault(call.workspace, []).append(place)
    return places


def _run(
    connection: sqlite3.Connection,
    workspace: Workspace,
    calls: Sequence[Call],
    now: int,
    allowance: _Allowance,
    phases: list[Phase],
) -> Decided:
    began = perf_counter()
    keys = dict.fromkeys(chain.from_iterable(call.keys for call in calls))
    graph = load(connection, workspace, keys, now, new_profile_id)
    users = {user for call in calls for decision in call.decisions if (user := decision.labels_of) is not None}
    profiles = {profile for user in users if (profile := graph.find(user)) and profile.user_aliases}
    if profiles:
        allowance.take(profiles)
        load_labels(connection, workspace, graph, [profile.id for profile in profiles])
    request_ids = [call.by.once.request_id for call in calls if call.by.once is not None]
    kept = load_kept(connection, workspace, request_ids, now - ANSWERS_ARE_KEPT_FOR)
    loaded = perf_counter()
    steps = decide(graph, calls, kept)
    try:
        while True:
            lack = next(steps)
            allowance.take(map(lack.graph.living, lack.profiles))
            (load_holdings if lack.holdings else load_labels)(connection, workspace, lack.graph, lack.profiles)
    except StopIteration as stop:
        decided: Decided = stop.value
    ready = perf_counter()
    allowance.take(graph.living(made.survivor) for made in graph.changes if isinstance(made, Merged))
    write(connection, workspace, graph, decided)
    phases += Phase("load", began, loaded), Phase("decide", loaded, ready), Phase("write", ready, perf_counter())
    return decided
