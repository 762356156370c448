"""The deadlines of calls in process, with one timer for all of them: one each costs a good part of a call."""

import asyncio
import math
from types import TracebackType
from typing import Any


class Deadlines:
    """The deadlines of what is under way in one event loop."""

    def __init__(self) -> None:
        self._waiting: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        """When the timer ends, on the event loop's clock."""

    def add(self, deadline: "Deadline") -> None:
        """See that a deadline is told when it has passed."""
        self._waiting.add(deadline)
        if deadline.when < self._due:
            self._set_timer(deadline.when)

    def remove(self, deadline: "Deadline") -> None:
        """Forget a deadline. (The timer stays: it most often serves another's by the time that it ends.)"""
        self._waiting.discard(deadline)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if due == math.inf else asyncio.get_running_loop().call_at(due, self._tell)

    def _tell(self) -> None:
        for deadline in [deadline for deadline in self._waiting if deadline.when <= self._due]:
            self._waiting.discard(deadline)
            deadline.pass_()
        self._set_timer(min((deadline.when for deadline in self._waiting), default=math.inf))


class Deadline:
    """What is done in its `with` block raises TimeoutError at a time on the event loop's clock; None: at none.

    That is what asyncio.timeout_at does, in a fifth of the time.
    """

    __slots__ = ("_cancelling", "_deadlines", "_passed", "_task", "when")

    def __init__(self, deadlines: Deadlines, when: float | None) -> None:
        self.when = math.inf if when is None else when
        self._deadlines = deadlines
        self._passed = False

    def pass_(self) -> None:
        """Cancel what is done, since it is too late for it."""
        self._passed = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "it is awaited in a task"
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._deadlines.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._deadlines.remove(self)
        # Where somebody else has cancelled the task too, it stays cancelled.
        if self._passed and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
