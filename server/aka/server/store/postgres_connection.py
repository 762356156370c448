"""A connection to PostgreSQL: opened when it is needed, bounded in all that it waits for, opened anew when it broke."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Final, TypeVar

import asyncpg

from aka.server.errors import AkaError
from aka.server.metrics import Phase
from aka.server.store.postgres_url import PostgresUrl
from aka.server.store.store import conflict, outcome_unknown, store_unavailable

T = TypeVar("T")

LIMIT: Final = 5.0
"""Seconds that a piece of work may take; then its connection is dropped, whatever the database does."""
CONNECT_LIMIT: Final = 3.0
"""Seconds that connecting to one host may take, where the URL says nothing."""
PAUSE: Final = 0.1
"""Seconds after a failed attempt to connect before the next, doubled each time up to ..."""
LONGEST_PAUSE: Final = 2.0

PLANS: Final = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")
"""Ways to read that a call never needs. A plan that was made while a table was small would be kept as it grows."""

_BEGIN: Final = "BEGIN"
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Begins a transaction that reads what was committed when it began."""

# Bounds on the database's side, for where it is this process that stands still, or that is not heard any more: nobody
# waits for its locks for ever.
_SETTINGS: Final = {
    "lock_timeout": f"{LIMIT - 1:.0f}s",
    "idle_in_transaction_session_timeout": f"{LIMIT:.0f}s",
    **dict.fromkeys(PLANS, "off"),
}
_SINCE_17: Final = {"transaction_timeout": f"{LIMIT + 1:.0f}s"}
"""It holds also between a statement's preparation and its run, where a session does not count as idle; until 17 only
TCP tells then that nobody is there."""
_TCP: Final = {
    "tcp_keepalives_idle": "5s",
    "tcp_keepalives_interval": "2s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
"""A pooler's connections are not aka's, so that these are for others."""

CLASHES: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,  # a migration changed what a statement returns; it is prepared anew
)
"""Errors of another's transaction in the way, after which the same work may go through."""
OUTAGES: Final = (
    OSError,  # a timeout too
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.DataCorruptedError,
    asyncpg.IndexCorruptedError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,  # this server was demoted
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.InternalClientError,
)
"""Errors that tell that the database cannot be used now."""


class Clash(Exception):
    """Another transaction was in the way; nothing was changed."""


class CommitFailed(Exception):
    """COMMIT raised, and whether the transaction was committed is not known."""


class Connection:
    """One connection to a database, for one piece of work at a time."""

    def __init__(self, url: PostgresUrl, *, prepares: bool = True) -> None:
        """Without `prepares` no statement outlives its transaction, as behind a pooler of transactions."""
        self._url = url
        self._prepares = prepares
        self._asyncpg: asyncpg.Connection | None = None
        self._pause = 0.0
        self._why = ""
        self._next_attempt = 0.0
        self._begin = _BEGIN
        self._begin_snapshot = SNAPSHOT
        self._closed = False
        self._warned = False

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Return what `work` does on the connection, within `LIMIT`.

        Raises Clash, STORE_UNAVAILABLE where the database cannot be used, and OUTCOME_UNKNOWN where it failed while
        committing. Nothing is left open, whatever the work raises. (A timer drops a connection that takes too long:
        to cancel what waits would have asyncpg ask the same database, which may stand still, to cancel it.)
        """
        connection = await self._opened()
        timer = asyncio.get_running_loop().call_later(LIMIT, connection.terminate)
        try:
            return await work(connection)
        except asyncio.CancelledError:
            connection.terminate()
            raise
        except Exception as error:
            await _clear(connection)
            raise _told(error, connection) from error
        finally:
            timer.cancel()

    async def transact(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> tuple[T, Phase]:
        """Run `work` in a transaction and commit it; return what it returns and the commit. Raises as `run` does."""

        async def begin_and_commit(connection: asyncpg.Connection) -> tuple[T, Phase]:
            await connection.execute(self._begin)
            result = await work(connection)
            return result, await self._commit(connection)

        return await self.run(begin_and_commit)

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Return what `work` reads by one statement. Raises as `run` does."""
        return await (self.run(work) if self._prepares else self.snapshot(work))

    async def snapshot(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Return what `work` reads, all of it as of one moment. Raises as `run` does."""

        async def begin_and_end(connection: asyncpg.Connection) -> T:
            await connection.execute(self._begin_snapshot)
            result = await work(connection)
            await connection.execute("ROLLBACK")
            return result

        return await self.run(begin_and_end)

    def close(self) -> None:
        """Let the connection go for good."""
        self._closed = True
        if self._asyncpg is not None:
            self._asyncpg.terminate()

    async def _opened(self) -> asyncpg.Connection:
        if self._closed:
            raise store_unavailable("it was closed")
        if self._asyncpg is not None and not self._asyncpg.is_closed():
            return self._asyncpg
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_attempt:
            raise store_unavailable(self._why)
        try:
            self._asyncpg = await connect(self._url, prepares=self._prepares)
            await self._set_up(self._asyncpg)
        except (*OUTAGES, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._why = _name(error)
            self._pause = min(max(PAUSE, 2 * self._pause), LONGEST_PAUSE)
            self._next_attempt = loop.time() + self._pause * random.uniform(0.5, 1.0)
            raise store_unavailable(self._why) from error
        self._pause = 0.0
        self._asyncpg.add_log_listener(self._hear)
        return self._asyncpg

    async def _set_up(self, connection: asyncpg.Connection) -> None:
        """Set a connection up once, or a pooler's for each transaction."""
        settings = _SETTINGS | (_SINCE_17 if connection.get_server_version().major >= 17 else {})
        if self._prepares:
            await connection.execute(_set("SET", settings | _TCP), timeout=CONNECT_LIMIT)
        else:
            self._begin = f"{_BEGIN}; {_set('SET LOCAL', settings)}"
            self._begin_snapshot = f"{SNAPSHOT}; {_set('SET LOCAL', settings)}"

    def _hear(self, _: object, message: asyncpg.PostgresLogMessage) -> None:
        """Note what the database says beside its answers."""
        self._warned = message.severity_en == "WARNING"

    async def _commit(self, connection: asyncpg.Connection) -> Phase:
        """Commit; Clash where certainly nothing was committed, CommitFailed where that is not known."""
        began = perf_counter()
        self._warned = False
        try:
            ended = await connection.execute("COMMIT")
        except CLASHES as error:
            raise Clash from error
        except Exception as error:
            raise CommitFailed from error
        if self._warned:  # such as: it was committed here, but whether a synchronous standby has it is not known
            raise CommitFailed
        if ended != "COMMIT":
            raise RuntimeError(f"a transaction that failed before was to be committed: {ended}")
        return Phase("commit", began, perf_counter())


def _set(how: str, settings: Mapping[str, str]) -> str:
    return "; ".join(f"{how} {name} = '{value}'" for name, value in settings.items())


async def connect(url: PostgresUrl, *, prepares: bool = True) -> asyncpg.Connection:
    """Connect to the first host that is of the kind wanted, each within its time; raises the last one's error.

    (Host by host: asyncpg has one time for all, which a host that swallows packets would use up.)
    """
    failure: Exception | None = None
    kinds = ("standby", "any") if url.attributes == "prefer-standby" else (url.attributes,)
    for kind in kinds:
        for host, port in url.hosts or ((None, None),):
            try:
                return await asyncpg.connect(
                    url.text,
                    host=host,
                    port=port,
                    target_session_attrs=kind,  # type: ignore[arg-type]
                    timeout=url.timeout or CONNECT_LIMIT,
                    statement_cache_size=100 if prepares else 0,
                    server_settings={"application_name": "aka"},
                )
            except (*OUTAGES, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                failure = error
    assert failure is not None, "there is a host to try"
    raise failure


async def _clear(connection: asyncpg.Connection) -> None:
    """End the transaction that the work left, or else the connection."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except Exception:
        connection.terminate()


def _told(error: Exception, connection: asyncpg.Connection) -> Exception:
    """Return what to raise for an error, and let the connection go where it is in doubt."""
    match error:
        case CommitFailed():
            connection.terminate()
            return outcome_unknown()
        case AkaError() | Clash():
            return error
        case asyncpg.LockNotAvailableError():
            return conflict()
        case _ if isinstance(error, CLASHES):
            return Clash()
        case _ if isinstance(error, OUTAGES) or connection.is_closed():
            connection.terminate()
            return store_unavailable(_name(error))
    return error


def _name(error: Exception) -> str:
    """Return what may be shown of a driver's error, whose message may bear what must not be."""
    code = getattr(error, "sqlstate", None)
    return f"PostgreSQL {code}" if code else type(error).__name__
