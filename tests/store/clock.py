"""The time of day in a test's hands."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: int
    """Microseconds since the epoch."""

    def time_ns(self) -> int:
        """Stand in for `time.time_ns`."""
        return self.now * 1000
