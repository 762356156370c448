"""Group commit: what waits is taken together, done in one go, and answered one by one.

The same serves reads: what arrives while a read is under way is joined to the next.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from aka.server.errors import AkaError, server_stopping
from aka.server.metrics import SIZES, Histogram, QueueMetrics
from aka.v1 import alias_service_pb2 as v1

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans, WaitSpan

W = TypeVar("W")
R = TypeVar("R")

MAX_DECISIONS: Final = 512
MAX_KEYS: Final = 4096
MAX_WAITING: Final = 4096
"""Decisions that may wait; what comes beyond them is refused at once."""
BULK: Final = 10
"""Work of more decisions than this, or of more than four keys for each, is bulk, which gets a quarter of a group
while other work waits."""
ALONE: Final = 3
"""A group is taken when so many turns of the event loop in a row have brought nothing to it ..."""
IN_COMPANY: Final = 24
"""... or so many, if the group before had several pieces: whoever was answered is about to call again, and every commit
costs the same whatever it holds. An idle loop takes these turns in a tenth of a millisecond."""
ENOUGH: Final = 64
"""Decisions that are not made to wait for more."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[W, R]):
    work: W
    decisions: int
    keys: int
    deadline: float | None
    answer: asyncio.Future[R]
    span: WaitSpan | None


@dataclass(slots=True)
class _Lane(Generic[W, R]):
    waiting: deque[_Waiting[W, R]] = field(default_factory=deque)

    def take(self, group: list[_Waiting[W, R]], decisions: int, keys: int) -> tuple[int, int]:
        """Move the oldest into the group while there is room; return the room that is left."""
        while self.waiting and (not group or (self.waiting[0].decisions <= decisions and self.waiting[0].keys <= keys)):
            item = self.waiting.popleft()
            decisions -= item.decisions
            keys -= item.keys
            group.append(item)
        return decisions, keys


class Grouped(Generic[W, R]):
    """Runs pieces of work in groups, the oldest first, at most `MAX_DECISIONS` and `MAX_KEYS` a group.

    `run` does a group and returns one result a piece, or an error that is that piece's answer. Where `run` raises
    AkaError the whole group gets it. Where it raises anything else the pieces run again one by one, so that only
    the culprit fails, with INTERNAL; so `run` must leave nothing behind when it raises.
    """

    def __init__(
        self,
        run: Callable[[Sequence[W]], Awaitable[Sequence[R | Exception]]],
        spans: Spans | None = None,
        *,
        at_once: int = 1,
    ) -> None:
        """`at_once` is how many groups may be under way at the same time."""
        self._run = run
        self._spans = spans
        self._calls: _Lane[W, R] = _Lane()
        self._bulk: _Lane[W, R] = _Lane()
        self._waiting = 0
        self._waiting_keys = 0
        self._pace = 0.0
        self._wake = asyncio.Event()
        self._closing = False
        self._group_sizes = Histogram(SIZES)
        self._retries = 0
        self._workers = [asyncio.get_running_loop().create_task(self._work()) for _ in range(at_once)]

    @property
    def waiting(self) -> int:
        """Decisions that wait for a group."""
        return self._waiting

    def measure(self) -> QueueMetrics:
        """Return what waits and how large the groups were."""
        return QueueMetrics(self._waiting, self._group_sizes, self._retries)

    async def submit(self, work: W, *, decisions: int, keys: int, deadline: float | None) -> R:
        """Return the work's result, or raise its error.

        OVERLOADED at once where too much waits, or where the answer could not come before `deadline` (on the loop's
        clock); DEADLINE where it passed before the work's turn. Work whose caller is cancelled before its turn is
        not done; later it is, and the answer is dropped.
        """
        if self._closing:
            raise server_stopping()
        loop = asyncio.get_running_loop()
        if deadline is not None and deadline <= loop.time():
            raise _too_late_for_its_turn()
        if self._waiting + decisions > MAX_WAITING or self._too_late(deadline, loop.time()):
            raise AkaError(
                v1.ERROR_REASON_OVERLOADED,
                "More waits than the server could do in time; nothing was changed. Repeat the call after a while",
                waiting=str(self._waiting),
            )
        answer: asyncio.Future[R] = loop.create_future()
        lane = self._bulk if decisions > BULK or keys > 4 * BULK else self._calls
        span = None if self._spans is None else self._spans.wait()
        lane.waiting.append(_Waiting(work, decisions, keys, deadline, answer, span))
        self._waiting += decisions
        self._waiting_keys += keys
        self._wake.set()
        return await answer

    async def close(self) -> None:
        """Take nothing more, and return when all that waits is done."""
        self._closing = True
        self._wake.set()
        await asyncio.shield(asyncio.gather(*self._workers))  # the work of others goes on where this caller gives up

    def _too_late(self, deadline: float | None, now: float) -> bool:
        if deadline is None:
            return False
        groups_ahead = math.ceil(max(self._waiting / MAX_DECISIONS, self._waiting_keys / MAX_KEYS))
        return now + groups_ahead * self._pace > deadline

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        turns = ALONE
        while True:
            if not (self._calls.waiting or self._bulk.waiting):
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
            await self._gather(turns)
            started = loop.time()
            group = self._take(started)
            turns = IN_COMPANY if len(group) > 1 else ALONE
            if group:
                self._group_sizes.observe(len(group))
                with self._span_of(group):
                    await self._answer(group)
                self._pace += (loop.time() - started - self._pace) / 8

    async def _gather(self, turns: int) -> None:
        """Wait until so many turns of the event loop in a row have brought nothing, or enough waits."""
        quiet = 0
        while quiet < turns and self._waiting < ENOUGH and not self._closing:
            before = self._waiting
            await asyncio.sleep(0)
            quiet = 0 if self._waiting > before else quiet + 1

    def _take(self, now: float) -> list[_Waiting[W, R]]:
        group: list[_Waiting[W, R]] = []
        decisions, keys = MAX_DECISIONS, MAX_KEYS
        if self._calls.waiting and self._bulk.waiting:
            spared_decisions, spared_keys = self._bulk.take(group, decisions // 4, keys // 4)
            # What is larger than the quarter is taken whole, beyond the group's size rather than in place of calls.
            decisions += max(spared_decisions, 0) - decisions // 4
            keys += max(spared_keys, 0) - keys // 4
        for lane in (self._calls, self._bulk):
            decisions, keys = lane.take(group, decisions, keys)
        self._waiting -= sum(item.decisions for item in group)
        self._waiting_keys -= sum(item.keys for item in group)
        if self._spans is not None:
            self._spans.end(item.span for item in group)
        return [item for item in group if not _dropped(item, now)]

    def _span_of(self, group: Sequence[_Waiting[W, R]]) -> AbstractContextManager[None]:
        return nullcontext() if self._spans is None else self._spans.group(item.span for item in group)

    async def _answer(self, group: Sequence[_Waiting[W, R]]) -> None:
        try:
            results: Sequence[R | Exception] = await self._run([item.work for item in group])
            assert len(results) == len(group), "a result for each piece of work"
        except AkaError as refusal:
            results = [refusal] * len(group)
        except Exception as bug:
            if len(group) > 1:
                self._retries += len(group)
                for item in group:
                    await self._answer([item])
                return
            results = [bug]
        for item, result in zip(group, results, strict=True):
            if item.answer.done():
                continue
            if isinstance(result, Exception):
                item.answer.set_exception(result)
            else:
                item.answer.set_result(result)


def _dropped(item: _Waiting[W, R], now: float) -> bool:
    if item.answer.done():
        return True
    if item.deadline is not None and item.deadline <= now:
        item.answer.set_exception(_too_late_for_its_turn())
        return True
    return False


def _too_late_for_its_turn() -> AkaError:
    return AkaError(v1.ERROR_REASON_DEADLINE, "The deadline passed before the call's turn came; nothing was changed")
