"""Programs that run to their end, and how long they take: aka's commands, and Python."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.load import LoadFailed
from benchmarks.servers import AKA, Server


def aka(server: Server, key: str, *words: str | Path) -> float:
    """Run an aka command against a server, and return the seconds that it took. Raises LoadFailed where it fails."""
    return _run([AKA, *words], {"AKA_API_KEY": key, "AKA_SERVER": server.address})


def import_grpc() -> float:
    """Import grpc in a new Python, and return the seconds that it took."""
    return _run([sys.executable, "-c", "import grpc"], {})


def _run(command: list[str | Path], settings: dict[str, str]) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment | settings, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise LoadFailed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return took
