"""Connections to one PostgreSQL database, and the groups of work that are done on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from aka.server.metrics import QueueMetrics
from aka.server.store.group import Grouped
from aka.server.store.postgres_connection import Connection

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans

Run = Callable[[Connection, Sequence[Any]], Awaitable[Sequence[Any]]]
"""Does a group on a connection, and returns a result or an error a piece."""


class Pool:
    """Does what waits in groups, as many at once as there are connections.

    No caller ever holds a connection, so that none who goes leaves one in the middle of something.
    """

    def __init__(self, connections: Sequence[Connection], run: Run, spans: Spans | None) -> None:
        self._connections = connections
        self._idle = list(connections)
        self._run = run
        self._groups: Grouped[Any, Any] = Grouped(self._run_on_one, spans, at_once=len(connections))

    async def submit(self, work: Any, *, decisions: int = 1, keys: int, deadline: float | None) -> Any:
        """See `Grouped.submit`."""
        return await self._groups.submit(work, decisions=decisions, keys=keys, deadline=deadline)

    def measure(self) -> QueueMetrics:
        """See `Grouped.measure`."""
        return self._groups.measure()

    async def close(self) -> None:
        """Take nothing more, finish what waits and let the connections go."""
        await self._groups.close()
        for connection in self._connections:
            connection.close()

    async def _run_on_one(self, group: Sequence[Any]) -> Sequence[Any]:
        connection = self._idle.pop()
        try:
            return await self._run(connection, group)
        finally:
            self._idle.append(connection)  # the last one used is the next: those beyond what is needed rest
