"""The rate limit of each API key: fixed windows on the clock, counted by this process."""

import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1

WINDOWS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class RateLimit(NamedTuple):
    """How many calls (items, for a batch) a key may make in a window."""

    calls: int
    window: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `N/second|minute|hour|day`; ValueError otherwise."""
        calls, _, window = text.partition("/")
        if not (calls.isascii() and calls.isdigit() and int(calls) > 0 and window in WINDOWS):
            raise ValueError(text)
        return cls(int(calls), window)


class Standing(NamedTuple):
    """Where a key stands after a call."""

    limit: int
    remaining: int
    reset: int
    """When the window ends, in seconds since the epoch."""


class Limiter:
    """Counts what each key has used of its window."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.time) -> None:
        self._calls = limit.calls
        self._window = limit.window
        self._seconds = WINDOWS[limit.window]
        self._clock = clock
        self._begins = self._ends = 0.0
        self._used: dict[bytes, int] = {}

    def take(self, key: bytes, cost: int) -> Standing:
        """Count a call of `cost` items and return where the key stands; see `Standing.reset` for the window's end.

        Raises RATE_LIMITED, and counts nothing, where the window has not that much left. A batch larger than the
        whole limit passes when nothing of the window is used, and uses it up.
        """
        now = self._clock()
        if not self._begins <= now < self._ends:
            self._turn(now)
        used = self._used.get(key, 0)
        if used and used + cost > self._calls:
            wait = max(1, math.ceil(self._ends - now))
            raise RateLimited(
                f"The API key has {self._calls - used} of its {self._calls} calls a {self._window} left, and this"
                f" call counts {cost}; wait {wait} s",
                wait,
                limit=str(self._calls),
                window=self._window,
                retry_after=str(wait),
            )
        used = self._used[key] = min(used + cost, self._calls)
        return Standing(self._calls, self._calls - used, int(self._ends))

    def standing(self, key: bytes) -> Standing:
        """Return where a key stands now; nothing is counted."""
        now = self._clock()
        if not self._begins <= now < self._ends:
            self._turn(now)
        return Standing(self._calls, self._calls - self._used.get(key, 0), int(self._ends))

    def _turn(self, now: float) -> None:
        """Begin the window that `now` is in."""
        self._begins = now // self._seconds * self._seconds
        self._ends = self._begins + self._seconds
        self._used.clear()


class RateLimited(AkaError):
    """RATE_LIMITED, with the seconds to wait."""

    def __init__(self, text: str, wait: float, **metadata: str) -> None:
        super().__init__(v1.ERROR_REASON_RATE_LIMITED, text, **metadata)
        self.retry_after = wait
