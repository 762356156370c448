"""The processes that are measured: each started here, waited for, and ended here."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READY_WITHIN: Final = 30.0
ENDS_WITHIN: Final = 30.0

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class ServerFailed(Exception):
    """A server did not come up, or did not end as it should."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that serves."""

    address: str
    pid: int

    def cpu(self) -> float:
        """Return the seconds of processor time that it and its workers have used; 0 where the system does not tell."""
        try:
            workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in (self.pid, *workers)]
        except OSError:
            return 0.0
        return sum(int(words[11]) + int(words[12]) for words in stats) / _TICKS

    def resident(self) -> float:
        """Return the MiB of memory that it has, without workers. OSError where the system does not tell."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def handles(self) -> int:
        """Return the number of its file handles. OSError where the system does not tell."""
        return len([*Path(f"/proc/{self.pid}/fd").iterdir()])


@contextmanager
def aka(database: Path, key: str, postgres: str | None = None, *, workers: int = 1) -> Iterator[Server]:
    """Run `aka serve` on a SQLite file, or on a PostgreSQL and its log beside that file.

    Its rate limit counts but does not refuse.
    """
    settings = {
        "AKA_DATABASE_URL": postgres or f"sqlite:///{database}",
        "AKA_WORKERS": str(workers),
        "AKA_GRPC_ADDRESS": "127.0.0.1:0",
        "AKA_REST_ADDRESS": "",
        "AKA_BOOTSTRAP_API_KEY": key,
        "AKA_RATE_LIMIT": "100000000/minute",
        "AKA_MAX_IDENTIFIERS_PER_PROFILE": "10000",
    }
    command = [str(Path(sys.executable).with_name("aka")), "serve"]
    with _running(command, settings, "aka ready grpc=", database.with_suffix(".log")) as server:
        yield server


@contextmanager
def echo(answer_size: int, folder: Path) -> Iterator[Server]:
    """Run the server whose method does nothing and answers with `answer_size` bytes."""
    command = [sys.executable, "-m", "benchmarks.echo", str(answer_size)]
    with _running(command, {}, "ready grpc=", folder / "echo.log") as server:
        yield server


@contextmanager
def no_op(key: str, folder: Path) -> Iterator[Server]:
    """Run the server whose method does nothing behind aka's pipeline."""
    command = [sys.executable, "-m", "benchmarks.no_op"]
    with _running(command, {"AKA_BOOTSTRAP_API_KEY": key}, "ready grpc=", folder / "no_op.log") as server:
        yield server


@contextmanager
def _running(command: Sequence[str], settings: Mapping[str, str], ready: str, log: Path) -> Iterator[Server]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env={**environment, **settings}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None, "it is a pipe"
        line = process.stdout.readline() if select.select([process.stdout], [], [], READY_WITHIN)[0] else ""
        if not line.startswith(ready):
            raise ServerFailed(f"{' '.join(command)} said {line!r}; its log:\n{log.read_text()}")
        yield Server(line.removeprefix(ready).split()[0], process.pid)
        if process.poll() is not None:
            raise ServerFailed(f"{' '.join(command)} ended with {process.returncode}; its log:\n{log.read_text()}")
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
