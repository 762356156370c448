"""What is done on a connection to PostgreSQL in one piece: a group of changes, or of reads."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from time import perf_counter
from typing import Any, NamedTuple

import asyncpg

from aka.server.domain.changes import Change
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, Key
from aka.server.metrics import Phase
from aka.server.store.deciding import Call, Decided, Verdict, decide, new_profile_id
from aka.server.store.lookups import Data, Lookup, Page
from aka.server.store.postgres_changes import Outcome, write
from aka.server.store.postgres_connection import Clash
from aka.server.store.postgres_data import load_data, load_holdings
from aka.server.store.postgres_graph import empty_graphs, load, load_kept, load_labels, load_page, lock
from aka.server.store.postgres_resolve import resolve
from aka.server.store.store import ANSWERS_ARE_KEPT_FOR, Kept, Workspace


class Done(NamedTuple):
    """What a group came to, before it is committed."""

    verdicts: Sequence[Verdict]
    kinds: Counter[type[Change]]
    """How many changes of each kind it made."""
    phases: list[Phase]


async def change(connection: asyncpg.Connection, calls: Sequence[Call], now: int) -> Done:
    """Load, decide and write a group of changes, at the time `now`. The caller commits, or rolls back.

    Raises Clash where another transaction was in the way; the same group may go through when it begins again.

    Whoever adds, moves or removes an identifier holds its profile's row. So: (1) whose the keys are, (2) lock those
    profiles, (3) load what the keys reach, and begin again where a key is on a profile that is not locked, (4) decide,
    (5) write, and begin again where an identifier is not free any more.
    """
    began = perf_counter()
    places = _by_workspace(calls)
    keys = {
        workspace: dict.fromkeys(chain.from_iterable(calls[place].keys for place in each))
        for workspace, each in places.items()
    }
    locked = await lock(connection, keys)
    if locked:
        graphs = await load(connection, keys, now, new_profile_id)
    else:  # what is linked by the time that it is written is a clash then
        graphs = empty_graphs(keys, now, new_profile_id)
    for workspace, graph in graphs.items():
        for key in keys[workspace]:
            if (profile := graph.find(key)) is not None and (workspace, profile.id) not in locked:
                raise Clash
    await _load_expected_labels(connection, graphs, calls)
    request_ids = [(call.workspace, call.by.once.request_id) for call in calls if call.by.once is not None]
    expired = now - ANSWERS_ARE_KEPT_FOR
    kept = await load_kept(connection, request_ids, expired)
    loaded = perf_counter()
    outcomes: dict[Workspace, Outcome] = {}
    verdicts: dict[int, Verdict] = {}
    kinds: Counter[type[Change]] = Counter()
    for workspace, graph in graphs.items():
        free = frozenset(key for key in keys[workspace] if graph.find(key) is None)
        of_workspace = [calls[place] for place in places[workspace]]
        decided = await _decide(connection, workspace, graph, of_workspace, kept.get(workspace, {}))
        outcomes[workspace] = Outcome(graph, decided, keys[workspace], free)
        verdicts.update(zip(places[workspace], decided.verdicts, strict=True))
        kinds.update(map(type, graph.changes))
    ready = perf_counter()
    await write(connection, outcomes, now, expired)
    phases = [Phase("load", began, loaded), Phase("decide", loaded, ready), Phase("write", ready, perf_counter())]
    return Done([verdicts[place] for place in range(len(calls))], kinds, phases)


async def read_all(connection: asyncpg.Connection, lookups: Sequence[Lookup]) -> Sequence[Any]:
    """Return what a group of look-ups finds, all as of one moment."""
    keys: dict[Workspace, dict[Key, None]] = {}
    for lookup in lookups:
        keys.setdefault(lookup.workspace, {}).update(dict.fromkeys(lookup.keys))
    found = await resolve(connection, keys)
    return [found[lookup.workspace] for lookup in lookups]


async def read_pages(connection: asyncpg.Connection, pages: Sequence[Page | Data]) -> Sequence[Any]:
    """Return pages, and data. The caller sees to one snapshot."""
    return [
        await load_page(connection, page.workspace, page.key, page.after, page.limit)
        if isinstance(page, Page)
        else await load_data(connection, page)
        for page in pages
    ]


async def _load_expected_labels(
    connection: asyncpg.Connection, graphs: dict[Workspace, Graph], calls: Sequence[Call]
) -> None:
    """Load the labels that the decisions will probably ask for."""
    profiles = dict.fromkeys(
        (call.workspace, profile.id)
        for call in calls
        for user in _users(call)
        if (profile := graphs[call.workspace].find(user)) is not None and profile.user_aliases
    )
    if profiles:
        await load_labels(connection, [(workspace, graphs[workspace], profile) for workspace, profile in profiles])


def _users(call: Call) -> Iterator[Identifier]:
    return (user for decision in call.decisions if (user := decision.labels_of) is not None)


async def _decide(
    connection: asyncpg.Connection,
    workspace: Workspace,
    graph: Graph,
    calls: Sequence[Call],
    kept: dict[bytes, Kept],
) -> Decided:
    steps = decide(graph, calls, kept)
    try:
        while True:
            graph, profiles, holdings = next(steps)
            if holdings:
                await load_holdings(connection, workspace, graph, profiles)
            else:
                await load_labels(connection, [(workspace, graph, profile) for profile in profiles])
    except StopIteration as stop:
        decided: Decided = stop.value
        return decided


def _by_workspace(calls: Sequence[Call]) -> dict[Workspace, Collection[int]]:
    places: dict[Workspace, list[int]] = {}
    for place, call in enumerate(calls):
        places.setdefault(call.workspace, []).append(place)
    return dict(places)
