"""The store over one SQLite file, or memory: every change goes through one writer, in groups."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, get_args

from aka.server.domain.changes import Change
from aka.server.domain.graph import Decision
from aka.server.domain.identifiers import Identifier, Key
from aka.server.domain.profile_data import Kind
from aka.server.errors import AkaError
from aka.server.metrics import SECONDS, Histogram, Phase, StoreMetrics
from aka.server.store import sqlite_keys
from aka.server.store.deciding import Call
from aka.server.store.group import Grouped
from aka.server.store.lookups import Data, Links, Lookup, Page
from aka.server.store.resolutions import MOVES, Resolutions
from aka.server.store.sqlite_changes import forget_answers
from aka.server.store.sqlite_connection import Connection, Glance
from aka.server.store.sqlite_file import MEMORY, Ownership, own
from aka.server.store.sqlite_groups import Done, Errand, change, look_up, read
from aka.server.store.sqlite_migrations import migrate, pending
from aka.server.store.store import (
    ANSWERS_ARE_KEPT_FOR,
    ActivityPlace,
    ApiKey,
    Caller,
    CannotOpen,
    Living,
    NamedWorkspace,
    NewApiKey,
    ProfileData,
    ProfilePage,
    StoredLink,
    Workspace,
)

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans

T = TypeVar("T")

FEW: Final = 8
"""Up to this many keys are read on the event loop's thread: some 10 µs each, where a hop to another takes 100."""
OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables


class SqliteStore:
    """A `Store` over one SQLite file. `:memory:` lives as long as the store, and reads through the writer."""

    def __init__(self, path: str, owner: Ownership | None, spans: Spans | None, kept_resolutions: int) -> None:
        self._path = path
        self._spans = spans
        self._owner = owner
        self._writer = Connection(path, writes=True)
        self._reader = self._writer if path == MEMORY else Connection(path, writes=False)
        self._glance = None if path == MEMORY else Glance(path)
        self._resolutions = Resolutions(0 if path == MEMORY else kept_resolutions)
        self._forget_at = 0
        self._commits = Histogram(SECONDS)
        self._committed: Counter[type[Change]] = Counter(dict.fromkeys(get_args(Change), 0))
        self._changes: Grouped[Call | Errand, Any] = Grouped(self._run_changes, spans)
        self._reads: Grouped[Lookup | Page | Links | Data, Any] = Grouped(self._run_reads, spans)

    @classmethod
    async def open(cls, path: str, spans: Spans | None = None, *, kept_resolutions: int = 0) -> Self:
        """Take the file, make it if it is not there, and bring its tables up to date; CannotOpen otherwise.

        `spans` makes the spans of what is done for calls that are traced. Whose they are is kept in memory of so many
        keys; not of a database that is there itself.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise CannotOpen(f"SQLite {sqlite3.sqlite_version} is too old; aka needs 3.37 or newer")
        store = cls(path, own(path), spans, kept_resolutions)
        try:
            await store._writer.run(migrate)
            if store._reader is not store._writer:
                await store._reader.run(pending)
        except (sqlite3.Error, AkaError, CannotOpen) as error:
            await store.close()
            why = error.__cause__ if isinstance(error, AkaError) and error.__cause__ else error
            raise CannotOpen(f"{path} cannot be opened: {why}") from error
        return store

    async def resolve(
        self, workspace: Workspace, keys: Collection[Key], deadline: float | None, *, eventual: bool = False
    ) -> Mapping[Key, Living]:
        """See `Store.resolve`. What is not kept and few is read at once; of larger reads those that wait are joined."""
        found, missed = self._resolutions.find(workspace, keys)
        if not missed:
            return found
        read = self._read_few(workspace, missed)
        if read is None:
            version = self._resolutions.version
            read = await self._read_many(workspace, missed, deadline)
            if self._resolutions.version != version:  # what was kept may be of another moment than what was read
                return await self._read_many(workspace, keys, deadline) if found else read
        self._resolutions.keep(workspace, read)
        return read if not found else {**found, **read}

    def _read_few(self, workspace: Workspace, keys: Collection[Key]) -> Mapping[Key, Living] | None:
        """Return what few keys resolve to, by a read on the event loop's thread; None where that cannot be done."""
        if self._glance is None or len(keys) > FEW:
            return None
        began = perf_counter()
        found = self._glance.read(lambda connection: look_up(connection, workspace, keys))
        if found is not None:
            self._trace(Phase("load", began, perf_counter()))
        return found

    async def _read_many(
        self, workspace: Workspace, keys: Collection[Key], deadline: float | None
    ) -> Mapping[Key, Living]:
        found: Mapping[Key, Living] = await self._reads.submit(
            Lookup(workspace, keys), decisions=1, keys=len(keys), deadline=deadline
        )
        return found

    async def read_profile(
        self,
        workspace: Workspace,
        key: Key,
        after: Identifier | None,
        limit: int,
        deadline: float | None,
        *,
        eventual: bool = False,
    ) -> ProfilePage | None:
        """See `Store.read_profile`."""
        page: ProfilePage | None = await self._reads.submit(
            Page(workspace, key, after, limit), decisions=1, keys=limit, deadline=deadline
        )
        return page

    async def read_data(
        self,
        workspace: Workspace,
        key: Key,
        identifiers: int,
        kinds: Collection[Kind],
        after: ActivityPlace | None,
        limit: int,
        deadline: float | None,
    ) -> ProfileData | None:
        """See `Store.read_data`."""
        asked = Data(workspace, key, identifiers, kinds, after, limit)
        found: ProfileData | None = await self._reads.submit(
            asked, decisions=1, keys=identifiers + limit, deadline=deadline
        )
        return found

    async def list_links(
        self, workspace: Workspace, after: Identifier | None, limit: int, deadline: float | None
    ) -> Sequence[StoredLink]:
        """See `Store.list_links`."""
        links: Sequence[StoredLink] = await self._reads.submit(
            Links(workspace, after, limit), decisions=1, keys=limit, deadline=deadline
        )
        return links

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
        return StoreMetrics(queues, self._commits, made, sizes, self._resolutions.measure())

    async def check_ready(self) -> None:
        """See `Store.check_ready`. A file needs no connection that could be away."""

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
        try:
            done, commit = await self._transact(group)
        finally:
            self._resolutions.moved()
        self._commits.observe(commit.ended - commit.began)
        self._committed.update(done.kinds)
        self._trace(*done.phases, commit)
        return done.results

    async def _run_reads(self, reads: Sequence[Lookup | Page | Links | Data]) -> Sequence[Any]:
        began = perf_counter()
        results = await self._reader.run(lambda connection: read(connection, reads))
        self._trace(Phase("load", began, perf_counter()))
        return results

    def _trace(self, *phases: Phase) -> None:
        if self._spans is not None:
            self._spans.phases(phases)

    async def _transact(self, group: Sequence[Call | Errand]) -> tuple[Done, Phase]:
        """Do a group and commit it: at once, or where that takes long on the writer's thread."""

        def at_once(connection: sqlite3.Connection) -> Done:
            done = self._change(connection, group, brief=True)
            if not MOVES.isdisjoint(done.kinds):
                self._resolutions.move(done.changes)
            return done

        if self._reader is not self._writer:  # else the writer's thread may be reading
            done = await self._writer.transact_here(at_once)
            if done is not None:
                return done
        self._resolutions.suspend()
        return await self._writer.transact(lambda connection: self._change(connection, group, brief=False))

    def _change(self, connection: sqlite3.Connection, group: Sequence[Call | Errand], *, brief: bool) -> Done:
        """Do a group, and delete what was kept long enough."""
        now = time.time_ns() // 1000
        done = change(connection, group, now, brief=brief)
        if now >= self._forget_at:
            more = forget_answers(connection, now - ANSWERS_ARE_KEPT_FOR)
            self._forget_at = now if more else now + 1_000_000
        return done


def _size(connection: sqlite3.Connection) -> int:
    (size,) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    return int(size)


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:  # the log is not there while nobody has written
        return 0
