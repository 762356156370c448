"""The connections to a SQLite file: one that writes, and others that read beside it.

SQLite 3.7.0 to 3.51.2 can lose commits where two connections write or checkpoint at once (the WAL-reset bug that
SQLite documents), so exactly one connection does either, and exactly one process has the file.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from time import perf_counter
from typing import Final, TypeVar
from urllib.parse import quote

import aiosqlite

from aka.server.metrics import Phase
from aka.server.store.sqlite_file import MEMORY, primary_code, roll_back
from aka.server.store.sqlite_migrations import pending
from aka.server.store.store import outcome_unknown, store_unavailable

T = TypeVar("T")

BUSY_TIMEOUT: Final = 1.0
"""Seconds to wait for another process's lock."""

_OUTAGES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_UNCOMMITTED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_LOCKED})
"""Errors of a COMMIT after which the transaction certainly is not in the file."""


class CommitFailed(Exception):
    """COMMIT raised, and whether the transaction is in the file is not known."""


class TooLong(Exception):
    """The work would hold up the event loop."""


class Connection:
    """One connection to the file and the thread that it lives on. Opens itself again after it broke."""

    def __init__(self, path: str, *, writes: bool) -> None:
        self._path = path
        self._writes = writes
        self._aiosqlite: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread as one piece, which nobody's cancellation cuts in half.

        Raises STORE_UNAVAILABLE where SQLite cannot work, and OUTCOME_UNKNOWN where it failed while committing.
        """
        try:
            return await self._hop(work)
        except (sqlite3.Error, CommitFailed) as error:
            raise await self._failure(error) from error

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> tuple[T, Phase]:
        """Run `work` in a transaction and commit it; return what it returns and the commit. Raises as `run` does.

        All of it is done on the connection's thread, which waits where another process holds the file's lock.
        """
        return await self.run(lambda connection: _in_a_transaction(connection, work))

    async def transact_here(self, work: Callable[[sqlite3.Connection], T]) -> tuple[T, Phase] | None:
        """Do the same, but for the COMMIT, which waits for the disk, on the event loop's thread.

        Two threads that both run Python wait for each other more than they gain. None, and nothing is done, where the
        work raises TooLong or another process holds the file's lock. One at a time.
        """
        try:
            if self._aiosqlite is None or not _began(self._aiosqlite._conn):
                return None
            try:
                result = _or_roll_back(self._aiosqlite._conn, work)
            except TooLong:
                return None
            return result, await self._hop(commit)
        except (sqlite3.Error, CommitFailed) as error:
            raise await self._failure(error) from error

    async def _hop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._aiosqlite is None:
            await self.open()
        assert self._aiosqlite is not None
        raw = self._aiosqlite._conn
        # aiosqlite's public methods cost a hop to its thread a statement; this is one hop for all of them.
        result: T = await self._aiosqlite._execute(work, raw)  # type: ignore[no-untyped-call]
        return result

    async def _failure(self, error: sqlite3.Error | CommitFailed) -> Exception:
        """Return what to raise, and let the connection go where it is in doubt."""
        if isinstance(error, CommitFailed):
            await self._drop()
            return outcome_unknown()
        code = primary_code(error)
        if code not in _OUTAGES:
            return error
        if code not in _UNCOMMITTED:
            await self._drop()
        return store_unavailable(getattr(error, "sqlite_errorname", "SQLITE_ERROR"))

    async def open(self) -> None:
        """Connect, with the settings that every statement relies on. Raises sqlite3.Error."""
        async with self._opening:
            if self._closed:
                raise store_unavailable("it was closed")
            if self._aiosqlite is not None:
                return
            uri = MEMORY if self._path == MEMORY else f"file:{quote(self._path)}?mode={'rwc' if self._writes else 'ro'}"
            connection = aiosqlite.connect(
                uri,
                uri=True,
                isolation_level=None,
                cached_statements=512,
                timeout=BUSY_TIMEOUT,
                check_same_thread=not self._writes,
            )
            try:
                await connection
            except BaseException:
                connection._thread.join()  # it ends now, but would report so to the loop, which may end before it
                raise
            try:
                await connection._execute(self._set_up, connection._conn)  # type: ignore[no-untyped-call]
            except BaseException:
                await connection.close()
                raise
            self._aiosqlite = connection

    async def close(self) -> None:
        """Let the connection go for good; the writer's checkpoints the file."""
        self._closed = True
        async with self._opening:
            await self._disconnect()

    async def _drop(self) -> None:
        if self._path != MEMORY:  # an in-memory database would go with its connection
            with contextlib.suppress(sqlite3.Error):
                await self._disconnect()

    async def _disconnect(self) -> None:
        if self._aiosqlite is not None:
            connection, self._aiosqlite = self._aiosqlite, None
            await connection.close()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
        if self._writes:
            pending(connection)  # what is not aka's is refused before the next line changes it
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA busy_timeout = 0")  # the event loop's thread must not wait


class Glance:
    """A read-only connection on the event loop's own thread, for reads so small that a hop to another costs more.

    It never waits for a lock: what it cannot read at once is left to a `Connection`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what `work` does; None where SQLite cannot do it now."""
        try:
            if self._connection is None:
                uri = f"file:{quote(self._path)}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
                self._connection.execute("PRAGMA cache_size = -16384")
            return work(self._connection)
        except sqlite3.Error:
            self.close()
            return None

    def close(self) -> None:
        """Let the connection go; the next read opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _began(connection: sqlite3.Connection) -> bool:
    """Begin to write, unless another process holds the lock."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


def _in_a_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> tuple[T, Phase]:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
    result = _or_roll_back(connection, work)
    return result, commit(connection)


def _or_roll_back(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return work(connection)
    except BaseException:
        roll_back(connection)
        raise


def commit(connection: sqlite3.Connection) -> Phase:
    """Commit, or leave nothing behind: CommitFailed where only a reopened file can tell. Returns how long it took."""
    began = perf_counter()
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if primary_code(error) not in _UNCOMMITTED:
            raise CommitFailed from error
        roll_back(connection)
        raise
    return Phase("commit", began, perf_counter())
