"""Mounts, and a network, that only the processes inside see."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Namespace:
    """Where they are."""

    pid: int
    """A process inside."""
    inside: tuple[str, ...]
    """Runs a command inside; the command's process keeps the id."""


@contextmanager
def namespace(kinds: str, script: str, *arguments: str) -> Iterator[Namespace]:
    """Run a shell script in new namespaces of some kinds, which are there while the block runs.

    `kinds` are letters of unshare's flags. Fails where this machine allows nobody to.
    """
    entering = [f"-{kind}" for kind in kinds]
    ways = {
        f"unshare -{kinds} (as root)": (["unshare", f"-{kinds}"], ["nsenter", *entering]),
        f"unshare -Ur{kinds} (as anybody)": (
            ["unshare", f"-Ur{kinds}"],
            ["nsenter", "--preserve-credentials", "-U", *entering],
        ),
    }
    failures = []
    for way, (unshare, nsenter) in ways.items():
        if missing := [tool for tool in (unshare[0], nsenter[0]) if shutil.which(tool) is None]:
            failures.append(f"{way}: {' and '.join(missing)} not found")
            continue
        command = [*unshare, "sh", "-c", f"set -e\n{script}\necho made\nexec cat", "sh", *arguments]
        pipe = subprocess.PIPE
        holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        assert holder.stdin is not None
        assert holder.stdout is not None
        with holder:  # its end closes the pipe, and with their last process the namespaces and mounts go
            said = holder.stdout.readline()
            if said == "made\n":
                yield Namespace(holder.pid, (nsenter[0], "-t", str(holder.pid), *nsenter[1:], "--"))
                return
            failures.append(f"{way}: {said.strip()}")
    raise AssertionError(f"this test needs namespaces of its own, and cannot make them: {'; '.join(failures)}")
