"""The machine that a run is on, and where on it there is a disk."""

import os
import platform
import sqlite3
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_PROJECT: Final = Path(__file__).resolve().parent.parent


def disk_folder() -> Path:
    """Return a folder for databases that is on a disk: the one for temporary files, else the project's.

    Raises OSError where both are in memory, since a commit there costs nothing.
    """
    for folder in (Path(tempfile.gettempdir()), _PROJECT):
        if file_system(folder) not in _IN_MEMORY:
            return folder
    raise OSError(f"{tempfile.gettempdir()} and {_PROJECT} are in memory: set TMPDIR to a folder on a disk")


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on; `unknown` where the system does not tell."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    resolved = folder.resolve()
    over = [(len(point), kind) for point, kind in mounts if resolved.is_relative_to(point)]
    return max(over)[1] if over else "unknown"


def described(folder: Path) -> dict[str, Any]:
    """Return what a reader of results wants to know of the machine and of what ran on it."""
    packages = ("aka", "aiosqlite", "grpcio", "protobuf", "uvloop")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.platform(),
            "file_system": file_system(folder),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: version(name) for name in packages},
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
