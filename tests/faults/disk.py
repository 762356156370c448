"""A disk that is small enough to be filled: a tmpfs that only the processes inside its mount namespace see."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat'
_WAYS = {
    "unshare -m (as root)": (["unshare", "-m"], ["nsenter", "-m"]),
    "unshare -Urm (as anybody)": (["unshare", "-Urm"], ["nsenter", "--preserve-credentials", "-U", "-m"]),
}
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
    failures = []
    for way, (unshare, nsenter) in _WAYS.items():
        if missing := [tool for tool in (unshare[0], nsenter[0]) if shutil.which(tool) is None]:
            failures.append(f"{way}: {' and '.join(missing)} not found")
            continue
        command = [*unshare, "sh", "-c", _MOUNT, "sh", str(size), str(folder)]
        pipe = subprocess.PIPE
        holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        assert holder.stdin is not None
        assert holder.stdout is not None
        with holder:  # its end closes the pipe, and with its last process the namespace and the mount go
            said = holder.stdout.readline()
            if said == "mounted\n":
                inside = (nsenter[0], "-t", str(holder.pid), *nsenter[1:], "--")
                yield Disk(folder, Path(f"/proc/{holder.pid}/root{folder}"), inside)
                return
            failures.append(f"{way}: {said.strip()}")
    raise AssertionError(f"this test needs a tmpfs of its own, and cannot mount one: {'; '.join(failures)}")
