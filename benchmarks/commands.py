"""Programs and how long they take, aka's commands and Python; and an import that goes on."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import LoadFailed
from benchmarks.servers import AKA, Server, environment


def aka(server: Server, key: str, *words: str | Path) -> float:
    """Run an aka command against a server, and return the seconds that it took. Raises LoadFailed where it fails."""
    return _run([AKA, *words], {"AKA_API_KEY": key, "AKA_SERVER": server.address})


@contextmanager
def importing(server: Server, key: str, file: Path) -> Iterator[None]:
    """Import a file, from when its first lines are done until the block ends; LoadFailed where it ended before."""
    state = file.with_name(f"{file.name}.import-state")
    state.unlink(missing_ok=True)
    command: list[str | Path] = [AKA, "import", file, "--quiet"]
    variables = environment({"AKA_API_KEY": key, "AKA_SERVER": server.address})
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not state.exists() and process.poll() is None:
                time.sleep(0.01)
            yield
            if process.poll() is not None:
                raise LoadFailed(f"aka import ended too early: {process.communicate()[1].strip()}")
        finally:
            process.terminate()


def import_grpc() -> float:
    """Import grpc in a new Python, and return the seconds that it took."""
    return _run([sys.executable, "-c", "import grpc"], {})


def _run(command: list[str | Path], settings: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise LoadFailed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return took
