"""The store over a PostgreSQL database that any number of servers share: changes go in groups, a transaction each."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar, get_args

import asyncpg

from aka.server.domain.changes import Change
from aka.server.domain.graph import Decision
from aka.server.domain.identifiers import Identifier, Key
from aka.server.domain.profile_data import Kind
from aka.server.errors import AkaError
from aka.server.metrics import SECONDS, Histogram, Phase, StoreMetrics
from aka.server.store import postgres_keys
from aka.server.store.deciding import Call
from aka.server.store.lookups import Data, Lookup, Page
from aka.server.store.postgres_changes import forget_answers
from aka.server.store.postgres_connection import Clash, Connection
from aka.server.store.postgres_database import on_database
from aka.server.store.postgres_graph import load_links
from aka.server.store.postgres_groups import change, read_all, read_pages
from aka.server.store.postgres_migrations import migrate
from aka.server.store.postgres_pool import Pool, Run
from aka.server.store.postgres_url import PostgresOptions, PostgresUrl
from aka.server.store.store import (
    ANSWERS_ARE_KEPT_FOR,
    ActivityPlace,
    ApiKey,
    Caller,
    Living,
    NamedWorkspace,
    NewApiKey,
    ProfileData,
    ProfilePage,
    StoredLink,
    Workspace,
    conflict,
)
from aka.v1 import alias_service_pb2 as v1

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans

T = TypeVar("T")

ATTEMPTS: Final = 8
"""How often a group begins before it is halved, or its only call refused."""
LONGEST_WAIT: Final = 0.1
"""Seconds between two attempts, at most."""

_SIZES: Final = (
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relname IN ('identifiers', 'profiles', 'journal', 'answers', 'attributes', 'push_tokens', 'activities')"
    " AND relkind = 'r'"
)


class Errand(NamedTuple):
    """Work on something else than the graph. It may run again; where it raises AkaError it has written nothing."""

    do: Callable[[asyncpg.Connection], Awaitable[Any]]


class PostgresStore:
    """A `Store` over one PostgreSQL database, and a replica of it for reads that may be late."""

    def __init__(self, url: PostgresUrl, options: PostgresOptions, spans: Spans | None) -> None:
        self._spans = spans
        self._forget_at = 0
        self._retries = 0
        self._commits = Histogram(SECONDS)
        self._committed: Counter[type[Change]] = Counter(dict.fromkeys(get_args(Change), 0))
        writers = max(options.connections // 2, 1)
        readers = max(options.connections - writers, 1)
        self._changes = self._pool(url, options, writers, self._run_changes)
        self._reads = self._pool(url, options, readers, self._run_reads)
        replica = options.replica
        self._replica_reads = None if replica is None else self._pool(replica, options, readers, self._run_reads)

    @classmethod
    async def open(cls, url: PostgresUrl, options: PostgresOptions, spans: Spans | None = None) -> Self:
        """Bring the database's tables up to date and connect; CannotOpen where that cannot be.

        `spans` makes the spans of what is done for calls that are traced. A replica need not be there.
        """
        await on_database(url, migrate)
        return cls(url, options, spans)

    async def resolve(
        self, workspace: Workspace, keys: Collection[Key], deadline: float | None, *, eventual: bool = False
    ) -> Mapping[Key, Living]:
        """See `Store.resolve`. Those that wait are joined."""
        found: Mapping[Key, Living] = await self._read(Lookup(workspace, keys), len(keys), deadline, eventual=eventual)
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
        asked = Page(workspace, key, after, limit)
        page: ProfilePage | None = await self._read(asked, limit, deadline, eventual=eventual)
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
        found: ProfileData | None = await self._reads.submit(asked, keys=identifiers + limit, deadline=deadline)
        return found

    async def list_links(
        self, workspace: Workspace, after: Identifier | None, limit: int, deadline: float | None
    ) -> Sequence[StoredLink]:
        """See `Store.list_links`."""
        links: Sequence[StoredLink] = await self._reads.submit(
            Errand(lambda connection: load_links(connection, workspace, after, limit)), keys=limit, deadline=deadline
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
        return await self._ask(lambda connection: postgres_keys.find_key(connection, digest))

    async def add_first_api_key(self, workspace: str, key: NewApiKey) -> bool:
        """See `Store.add_first_api_key`."""
        return await self._run_errand(lambda connection: postgres_keys.add_first_key(connection, workspace, key))

    async def add_api_key(self, workspace: Workspace, key: NewApiKey) -> ApiKey:
        """See `Store.add_api_key`."""
        return await self._run_errand(lambda connection: postgres_keys.add_key(connection, workspace, key))

    async def list_api_keys(self, workspace: Workspace, after: bytes, limit: int) -> Sequence[ApiKey]:
        """See `Store.list_api_keys`."""
        return await self._ask(lambda connection: postgres_keys.load_keys(connection, workspace, after, limit))

    async def revoke_api_key(self, key_id: bytes, within: Workspace | None) -> ApiKey:
        """See `Store.revoke_api_key`."""
        return await self._run_errand(lambda connection: postgres_keys.revoke_key(connection, key_id, within))

    async def note_api_key_uses(self, uses: Mapping[bytes, int]) -> None:
        """See `Store.note_api_key_uses`."""
        await self._run_errand(lambda connection: postgres_keys.note_uses(connection, uses))

    async def find_workspace(self, name: str) -> Workspace | None:
        """See `Store.find_workspace`."""
        return await self._ask(lambda connection: postgres_keys.find_workspace(connection, name))

    async def add_workspace(self, name: str, first: NewApiKey) -> ApiKey:
        """See `Store.add_workspace`."""
        return await self._run_errand(lambda connection: postgres_keys.add_workspace(connection, name, first))

    async def list_workspaces(self, after: str, limit: int) -> Sequence[NamedWorkspace]:
        """See `Store.list_workspaces`."""
        return await self._ask(lambda connection: postgres_keys.load_workspaces(connection, after, limit))

    async def measure(self) -> StoreMetrics:
        """See `Store.measure`. Sizes are of tables with their indexes; none while the database is away."""
        changes = self._changes.measure()
        queues = {
            "changes": changes._replace(retries=changes.retries + self._retries),
            "reads": self._reads.measure(),
        }
        if self._replica_reads is not None:
            queues["replica reads"] = self._replica_reads.measure()
        made = {kind.__name__.lower(): number for kind, number in self._committed.items()}
        sizes: dict[str, int] = {}
        with suppress(AkaError):
            sizes = await self._ask(_sizes)
        return StoreMetrics(queues, self._commits, made, sizes, resolutions=None)

    async def check_ready(self) -> None:
        """See `Store.check_ready`."""
        await self._ask(lambda connection: connection.fetchval("SELECT 1"))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._changes.close()
        await self._reads.close()
        if self._replica_reads is not None:
            await self._replica_reads.close()

    def _pool(self, url: PostgresUrl, options: PostgresOptions, connections: int, run: Run) -> Pool:
        return Pool([Connection(url, prepares=options.prepares) for _ in range(connections)], run, self._spans)

    async def _read(self, asked: Lookup | Page, keys: int, deadline: float | None, *, eventual: bool) -> Any:
        """Read from the replica where the answer may be late and it can be read, else from the primary."""
        if eventual and self._replica_reads is not None:
            try:
                return await self._replica_reads.submit(asked, keys=keys, deadline=deadline)
            except AkaError as refusal:
                if refusal.reason != v1.ERROR_REASON_STORE_UNAVAILABLE:
                    raise
            except asyncpg.UndefinedTableError:  # it is so late that it has no tables yet
                pass
        return await self._reads.submit(asked, keys=keys, deadline=deadline)

    async def _ask(self, do: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        result: T = await self._reads.submit(Errand(do), keys=0, deadline=None)
        return result

    async def _run_errand(self, do: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        result: T = await self._changes.submit(Errand(do), keys=0, deadline=None)
        return result

    async def _run_reads(self, connection: Connection, reads: Sequence[Lookup | Page | Data | Errand]) -> Sequence[Any]:
        began = perf_counter()
        lookups = [each for each in reads if isinstance(each, Lookup)]
        pages = [each for each in reads if isinstance(each, Page | Data)]
        found = iter(await connection.read(lambda same: read_all(same, lookups)) if lookups else ())
        read = iter(await connection.snapshot(lambda same: read_pages(same, pages)) if pages else ())
        results = [
            next(found)
            if isinstance(each, Lookup)
            else next(read)
            if isinstance(each, Page | Data)
            else await _result(connection.read(each.do))
            for each in reads
        ]
        self._trace(Phase("load", began, perf_counter()))
        return results

    async def _run_changes(self, connection: Connection, group: Sequence[Call | Errand]) -> Sequence[Any]:
        await self._forget_answers(connection)
        calls = [piece for piece in group if isinstance(piece, Call)]
        verdicts = iter(await self._settle(connection, calls) if calls else ())
        return [
            next(verdicts) if isinstance(piece, Call) else await _result(self._commit(connection, piece.do, 1))
            for piece in group
        ]

    async def _settle(self, connection: Connection, calls: Sequence[Call]) -> list[Any]:
        """Return a verdict, or an error, for each call. A group that fails by itself is halved, and never raises."""
        try:
            done = await self._commit(connection, lambda same: change(same, calls, time.time_ns() // 1000), len(calls))
        except AkaError as refusal:
            if len(calls) == 1 or refusal.reason != v1.ERROR_REASON_CONFLICT:
                return [refusal] * len(calls)
        except Exception as bug:
            if len(calls) == 1:
                return [bug]
        else:
            self._committed.update(done.kinds)
            self._trace(*done.phases)
            return list(done.verdicts)
        middle = len(calls) // 2
        return [*await self._settle(connection, calls[:middle]), *await self._settle(connection, calls[middle:])]

    async def _commit(self, connection: Connection, do: Callable[[asyncpg.Connection], Awaitable[T]], pieces: int) -> T:
        """Do some pieces of work in one transaction; CONFLICT where others were in the way each time it began."""
        for attempt in range(ATTEMPTS):
            try:
                result, commit = await connection.transact(do)
            except Clash:
                self._retries += pieces
                await asyncio.sleep(random.uniform(0, min(LONGEST_WAIT, 0.001 * 2**attempt)))
            else:
                self._commits.observe(commit.ended - commit.began)
                self._trace(commit)
                return result
        raise conflict()

    async def _forget_answers(self, connection: Connection) -> None:
        """Delete what was kept long enough, once a second."""
        now = time.time_ns() // 1000
        if now < self._forget_at:
            return
        self._forget_at = now + 1_000_000
        with suppress(AkaError, Clash):  # the next time will do
            more, _ = await connection.transact(lambda same: forget_answers(same, now - ANSWERS_ARE_KEPT_FOR))
            self._forget_at = now if more else self._forget_at

    def _trace(self, *phases: Phase) -> None:
        if self._spans is not None:
            self._spans.phases(phases)


async def _sizes(connection: asyncpg.Connection) -> dict[str, int]:
    return {name: size for name, size in await connection.fetch(_SIZES)}


async def _result(done: Awaitable[Any]) -> Any:
    """Return what comes, or the error that comes instead."""
    try:
        return await done
    except Exception as error:
        return error
