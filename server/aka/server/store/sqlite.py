"""The store over one SQLite file, or memory: every change goes through one writer, in groups."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar, get_args

import uuid_utils

from aka.server.domain.changes import Change
from aka.server.domain.graph import Decision, Graph
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.errors import AkaError
from aka.server.metrics import SECONDS, Histogram, Phase, StoreMetrics
from aka.server.store import sqlite_keys
from aka.server.store.deciding import Call, Decided, Verdict, decide
from aka.server.store.group import Grouped
from aka.server.store.sqlite_changes import forget_answers, write
from aka.server.store.sqlite_file import (
    MEMORY,
    CannotOpen,
    Connection,
    Glance,
    Ownership,
    migrate,
    own,
    pending,
    roll_back,
)
from aka.server.store.sqlite_graph import load, load_kept, load_labels, load_page
from aka.server.store.store import (
    ANSWERS_ARE_KEPT_FOR,
    ApiKey,
    Caller,
    NamedWorkspace,
    NewApiKey,
    ProfilePage,
    Workspace,
)

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans

T = TypeVar("T")

FEW: Final = 8
"""Up to this many keys are read on the event loop's thread: some 10 µs each, where a hop to another takes 100."""
SMALL: Final = 32
"""Up to this many decisions a group are done on the event loop's thread, and only their COMMIT on another."""
OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables


class Lookup(NamedTuple):
    """What some keys reach."""

    workspace: Workspace
    keys: Collection[Key]


class Page(NamedTuple):
    """A profile and a page of its identifiers."""

    workspace: Workspace
    key: Key
    after: Identifier | None
    limit: int


class Errand(NamedTuple):
    """A change of something else than the graph. It may run again; where it raises AkaError it has written nothing."""

    do: Callable[[sqlite3.Connection], Any]

    def result(self, connection: sqlite3.Connection) -> Any:
        """Return what it returns, or the AkaError that it raises."""
        try:
            return self.do(connection)
        except AkaError as refusal:
            return refusal


class Done(NamedTuple):
    """What a group came to, before it is committed."""

    results: Sequence[Any]
    kinds: Counter[type[Change]]
    """How many changes of each kind it made."""
    phases: list[Phase]


class SqliteStore:
    """A `Store` over one SQLite file. `:memory:` lives as long as the store, and reads through the writer."""

    def __init__(self, path: str, owner: Ownership | None, spans: Spans | None) -> None:
        self._path = path
        self._spans = spans
        self._owner = owner
        self._writer = Connection(path, writes=True)
        self._reader = self._writer if path == MEMORY else Connection(path, writes=False)
        self._glance = None if path == MEMORY else Glance(path)
        self._forget_at = 0
        self._commits = Histogram(SECONDS)
        self._committed: Counter[type[Change]] = Counter(dict.fromkeys(get_args(Change), 0))
        self._changes: Grouped[Call | Errand, Any] = Grouped(self._run_changes, spans)
        self._reads: Grouped[Lookup | Page, Any] = Grouped(self._run_reads, spans)

    @classmethod
    async def open(cls, path: str, spans: Spans | None = None) -> Self:
        """Take the file, make it if it is not there, and bring its tables up to date; CannotOpen otherwise.

        `spans` makes the spans of what is done for calls that are traced.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise CannotOpen(f"SQLite {sqlite3.sqlite_version} is too old; aka needs 3.37 or newer")
        store = cls(path, own(path), spans)
        try:
            await store._writer.run(migrate)
            if store._reader is not store._writer:
                await store._reader.run(pending)
        except (sqlite3.Error, AkaError, CannotOpen) as error:
            await store.close()
            why = error.__cause__ if isinstance(error, AkaError) and error.__cause__ else error
            raise CannotOpen(f"{path} cannot be opened: {why}") from error
        return store

    async def read(self, workspace: Workspace, keys: Collection[Key], deadline: float | None) -> Graph:
        """See `Store.read`. Small ones are done at once; of the others, those that wait are joined."""
        if self._glance is not None and len(keys) <= FEW:
            began = perf_counter()
            found = self._glance.read(lambda connection: _look_up(connection, workspace, keys))
            if found is not None:
                if self._spans is not None:
                    self._spans.phases([Phase("load", began, perf_counter())])
                return found
        graph: Graph = await self._reads.submit(Lookup(workspace, keys), decisions=1, keys=len(keys), deadline=deadline)
        return graph

    async def read_profile(
        self, workspace: Workspace, key: Key, after: Identifier | None, limit: int, deadline: float | None
    ) -> ProfilePage | None:
        """See `Store.read_profile`."""
        page: ProfilePage | None = await self._reads.submit(
            Page(workspace, key, after, limit), decisions=1, keys=limit, deadline=deadline
        )
        return page

    async def transact(self, workspace: Workspace, decisions: Sequence[Decision[Any]], by: Caller) -> list[Any]:
        """See `Store.transact`. Calls that wait are committed together."""
        call = Call.of(workspace, decisions, by)
        results: list[Any] = await self._changes.submit(
            call, decisions=len(decisions), keys=len(call.keys), deadline=by.deadline
        )
        return results

    async def find_api_key(self, digest: bytes) -> ApiKey | None:
        """See `Store.find_api_key`."""
        if self._glance is not None:
            found = self._glance.read(lambda connection: (sqlite_keys.find_key(connection, digest),))
            if found is not None:
                return found[0]
        return await self._reader.run(lambda connection: sqlite_keys.find_key(connection, digest))

    async def add_first_api_key(self, workspace: str, key: NewApiKey) -> bool:
        """See `Store.add_first_api_key`."""
        return await self._run_errand(lambda connection: sqlite_keys.add_first_key(connection, workspace, key))

    async def add_api_key(self, workspace: Workspace, key: NewApiKey) -> ApiKey:
        """See `Store.add_api_key`."""
        return await self._run_errand(lambda connection: sqlite_keys.add_key(connection, workspace, key))

    async def list_api_keys(self, workspace: Workspace, after: bytes, limit: int) -> Sequence[ApiKey]:
        """See `Store.list_api_keys`."""
        return await self._reader.run(lambda connection: sqlite_keys.load_keys(connection, workspace, after, limit))

    async def revoke_api_key(self, key_id: bytes, within: Workspace | None) -> ApiKey:
        """See `Store.revoke_api_key`."""
        return await self._run_errand(lambda connection: sqlite_keys.revoke_key(connection, key_id, within))

    async def note_api_key_uses(self, uses: Mapping[bytes, int]) -> None:
        """See `Store.note_api_key_uses`."""
        await self._run_errand(lambda connection: sqlite_keys.note_uses(connection, uses))

    async def find_workspace(self, name: str) -> Workspace | None:
        """See `Store.find_workspace`."""
        return await self._reader.run(lambda connection: sqlite_keys.find_workspace(connection, name))

    async def add_workspace(self, name: str, first: NewApiKey) -> ApiKey:
        """See `Store.add_workspace`."""
        return await self._run_errand(lambda connection: sqlite_keys.add_workspace(connection, name, first))

    async def list_workspaces(self, after: str, limit: int) -> Sequence[NamedWorkspace]:
        """See `Store.list_workspaces`."""
        return await self._reader.run(lambda connection: sqlite_keys.load_workspaces(connection, after, limit))

    async def measure(self) -> StoreMetrics:
        """See `Store.measure`."""
        queues = {"changes": self._changes.measure(), "reads": self._reads.measure()}
        made = {kind.__name__.lower(): number for kind, number in self._committed.items()}
        if self._path == MEMORY:
            sizes = {"memory": await self._writer.run(_size)}
        else:
            sizes = {"database": _size_of(self._path), "wal": _size_of(f"{self._path}-wal")}
        return StoreMetrics(queues, self._commits, made, sizes)

    async def close(self) -> None:
        """See `Store.close`. The file is checkpointed and its lock let go."""
        await self._changes.close()
        await self._reads.close()
        if self._glance is not None:
            self._glance.close()
            self._glance = None  # or a late read would open the file again, which is nobody's by then
        for connection in (self._reader, self._writer):
            with suppress(sqlite3.Error):  # what was acknowledged is in the log, checkpointed or not
                await connection.close()
        if self._owner is not None:
            self._owner.release()
            self._owner = None

    async def _run_errand(self, do: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._changes.submit(Errand(do), decisions=1, keys=0, deadline=None)
        return result

    async def _run_changes(self, group: Sequence[Call | Errand]) -> Sequence[Any]:
        decisions = sum(len(piece.decisions) for piece in group if isinstance(piece, Call))
        small = self._reader is not self._writer and decisions <= SMALL
        done, commit = await self._writer.transact(lambda connection: self._change(connection, group), small=small)
        self._commits.observe(commit.ended - commit.began)
        self._committed.update(done.kinds)
        self._trace(*done.phases, commit)
        return done.results

    async def _run_reads(self, reads: Sequence[Lookup | Page]) -> Sequence[Any]:
        began = perf_counter()
        results = await self._reader.run(lambda connection: _read_group(connection, reads))
        self._trace(Phase("load", began, perf_counter()))
        return results

    def _trace(self, *phases: Phase) -> None:
        if self._spans is not None:
            self._spans.phases(phases)

    def _change(self, connection: sqlite3.Connection, group: Sequence[Call | Errand]) -> Done:
        """Load, decide and write a group, and run its errands."""
        now = time.time_ns() // 1000
        calls = [piece for piece in group if isinstance(piece, Call)]
        verdicts: dict[int, Verdict] = {}
        kinds: Counter[type[Change]] = Counter()
        phases: list[Phase] = []
        for workspace, places in _by_workspace(calls).items():
            decided = _run(connection, workspace, [calls[place] for place in places], now, phases)
            for _, made in decided.journal:
                kinds.update(map(type, made))
            verdicts.update(zip(places, decided.verdicts, strict=True))
        if now >= self._forget_at:
            more = forget_answers(connection, now - ANSWERS_ARE_KEPT_FOR)
            self._forget_at = now if more else now + 1_000_000
        in_order = iter([verdicts[place] for place in range(len(calls))])
        results = [next(in_order) if isinstance(piece, Call) else piece.result(connection) for piece in group]
        return Done(results, kinds, phases)


def new_profile_id() -> ProfileId:
    """Return a new UUIDv7."""
    return ProfileId(uuid_utils.uuid7().bytes)


def _by_workspace(calls: Sequence[Call | Lookup | Page]) -> dict[Workspace, list[int]]:
    places: dict[Workspace, list[int]] = {}
    for place, call in enumerate(calls):
        places.setdefault(call.workspace, []).append(place)
    return places


def _run(
    connection: sqlite3.Connection, workspace: Workspace, calls: Sequence[Call], now: int, phases: list[Phase]
) -> Decided:
    began = perf_counter()
    keys = dict.fromkeys(chain.from_iterable(call.keys for call in calls))
    graph = load(connection, workspace, keys, now, new_profile_id)
    users = {user for call in calls for decision in call.decisions if (user := decision.labels_of) is not None}
    profiles = {profile.id for user in users if (profile := graph.find(user)) and profile.user_aliases}
    if profiles:
        load_labels(connection, workspace, graph, profiles)
    request_ids = [call.by.once.request_id for call in calls if call.by.once is not None]
    kept = load_kept(connection, workspace, request_ids, now - ANSWERS_ARE_KEPT_FOR)
    loaded = perf_counter()
    steps = decide(graph, calls, kept)
    try:
        while True:
            scratch, profile_id = next(steps)
            load_labels(connection, workspace, scratch, [profile_id])
    except StopIteration as stop:
        decided: Decided = stop.value
    ready = perf_counter()
    write(connection, workspace, graph, decided)
    phases += Phase("load", began, loaded), Phase("decide", loaded, ready), Phase("write", ready, perf_counter())
    return decided


def _look_up(connection: sqlite3.Connection, workspace: Workspace, keys: Collection[Key]) -> Graph:
    if len(keys) == 1:  # which is one statement, and so one snapshot
        return load(connection, workspace, keys, 0, new_profile_id)
    connection.execute("BEGIN")
    try:
        return load(connection, workspace, keys, 0, new_profile_id)
    finally:
        roll_back(connection)


def _read_group(connection: sqlite3.Connection, reads: Sequence[Lookup | Page]) -> Sequence[Any]:
    connection.execute("BEGIN")  # one snapshot for all
    try:
        results: dict[int, Any] = {}
        for workspace, places in _by_workspace(reads).items():
            lookups = {}
            for place in places:
                read = reads[place]
                if isinstance(read, Lookup):
                    lookups[place] = read
                else:
                    results[place] = load_page(connection, workspace, read.key, read.after, read.limit)
            keys = dict.fromkeys(key for read in lookups.values() for key in read.keys)
            graph = load(connection, workspace, keys, 0, new_profile_id)
            results.update(dict.fromkeys(lookups, graph))
        return [results[place] for place in range(len(reads))]
    finally:
        roll_back(connection)


def _size(connection: sqlite3.Connection) -> int:
    (size,) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    return int(size)


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:  # the log is not there while nobody has written
        return 0
