"""A disk that is small enough to be filled: a tmpfs that only the processes inside its mount namespace see."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.namespace import namespace

_BLOCK = 4096


@dataclass(frozen=True)
class Disk:
    """A folder with little room."""

    folder: Path
    """As the processes inside see it."""
    seen: Path
    """As this process sees it."""
    inside: tuple[str, ...]
    """Runs a command where the disk is; the command's process keeps the id."""

    @property
    def free(self) -> int:
        """Bytes that are left."""
        numbers = os.statvfs(self.seen)
        return numbers.f_bavail * numbers.f_frsize

    def fill(self, leave: int) -> None:
        """Take all the room but some bytes."""
        with (self.seen / "filler").open("ab", buffering=0) as filler:
            while (free := self.free) >= leave + _BLOCK:
                filler.write(bytes(min(free - leave, 1 << 20) // _BLOCK * _BLOCK))

    def empty(self) -> None:
        """Give the room back."""
        (self.seen / "filler").unlink()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a tmpfs of `size` bytes on a folder, and fail where this machine allows nobody to."""
    folder.mkdir()
    with namespace("m", 'mount -t tmpfs -o size="$1" tmpfs "$2"', str(size), str(folder)) as own:
        yield Disk(folder, Path(f"/proc/{own.pid}/root{folder}"), own.inside)
