"""Crowds: others that call a server while something on it is timed."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from typing import Final, TypeAlias

from benchmarks import calls, commands, links, merges
from benchmarks.load import Driver, Measured
from benchmarks.servers import Server

Crowd: TypeAlias = Callable[[float], AbstractContextManager[None]]
"""Calls the server, for a number of seconds at least, while it is entered."""

READERS: Final = 4
MERGES: Final = 500
"""A second."""

_LONGER: Final = 0.3
"""Seconds that a crowd is there for longer than it is needed."""
_LINES: Final = 200_000
"""Of a file that is imported: more than are done in some seconds."""
_FIRST_LINE: Final = 50_000_000
"""Numbers that nobody else uses begin with this one."""


def crowds(driver: Driver, server: Server, ids: int, *, times: int, seconds: float, most: int) -> Mapping[str, Crowd]:
    """Return crowds by what they do. Each may be used so many times, for so many seconds.

    `ids` are those that `generate` made, and `most` the calls that a crowd makes at a fixed rate.
    """
    read = calls.resolve(server, driver.key, ids, calls.MANY)
    most = min(most, math.ceil(MERGES * (seconds + _LONGER)))
    merges.new_pairs(driver, server, "crowd", most * times)
    merge = merges.merge(driver, server, "crowd")
    return {
        "an import": partial(_importing, driver, server, count(_FIRST_LINE, _LINES)),
        f"{READERS} x Resolve({calls.MANY:,})": partial(_calling, partial(driver.run, server, read, callers=READERS)),
        f"{MERGES} merges/s": partial(
            _calling, partial(driver.run, server, merge, callers=READERS, most=most, rate=MERGES)
        ),
    }


@contextmanager
def _calling(run: Callable[..., Measured], seconds: float) -> Iterator[None]:
    with ThreadPoolExecutor(1) as beside:
        crowd = beside.submit(run, seconds=seconds + _LONGER)
        yield
        crowd.result()


@contextmanager
def _importing(driver: Driver, server: Server, lines: Iterator[int], seconds: float) -> Iterator[None]:
    file = driver.folder / "crowd.csv"
    links.write(file, _LINES, next(lines))
    with commands.importing(server, driver.key, file):
        yield
