"""The processes that are measured: each started here, waited for, and ended here."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AKA: Final = Path(sys.executable).with_name("aka")
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
    ready_after: float = 0.0
    """Seconds from the start of its process on."""

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
def aka(
    database: Path, key: str, postgres: str | None = None, *, workers: int = 1, keeps: bool = True
) -> Iterator[Server]:
    """Run `aka serve` on a SQLite file, or on a PostgreSQL and its log beside that file.

    Its rate limit counts but does not refuse. Over SQLite it keeps resolutions in memory unless told otherwise.
    """
    settings = _settings(postgres or f"sqlite:///{database}", key) | {"AKA_WORKERS": str(workers)}
    if not keeps:
        settings["AKA_KEPT_RESOLUTIONS"] = "0"
    with _running([str(AKA), "serve"], database.with_suffix(".log"), settings) as server:
        yield server


@contextmanager
def gateway(database: Path, key: str) -> Iterator[Server]:
    """Run `aka serve` on a SQLite file, with its REST gateway, whose address is the server's."""
    settings = _settings(f"sqlite:///{database}", key) | {"AKA_REST_ADDRESS": "127.0.0.1:0"}
    with _running([str(AKA), "serve"], database.with_suffix(".log"), settings, "rest") as server:
        yield server


@contextmanager
def echo(answer_size: int, folder: Path) -> Iterator[Server]:
    """Run the server whose method does nothing and answers with `answer_size` bytes."""
    with _running(_module("echo", str(answer_size)), folder / "echo.log") as server:
        yield server


@contextmanager
def no_op(key: str, folder: Path) -> Iterator[Server]:
    """Run the server whose method does nothing behind aka's pipeline."""
    with _running(_module("no_op"), folder / "no_op.log", {"AKA_BOOTSTRAP_API_KEY": key}) as server:
        yield server


@contextmanager
def bare_rest(folder: Path) -> Iterator[Server]:
    """Run the REST server that does nothing."""
    with _running(_module("bare_rest"), folder / "bare_rest.log", address="rest") as server:
        yield server


@contextmanager
def peer(database: Path, key: str) -> Iterator[Server]:
    """Run what a user would write instead of aka, on a SQLite file that has aka's tables."""
    settings = {"AKA_BOOTSTRAP_API_KEY": key}
    with _running(_module("peer", str(database)), database.with_suffix(".log"), settings, "rest") as server:
        yield server


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that is measured: this one's, with these settings of aka's and no others.

    Python may keep what it compiles: of an aka that was installed, pip has compiled all.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**own, **settings}


def _settings(database: str, key: str) -> dict[str, str]:
    return {
        "AKA_DATABASE_URL": database,
        "AKA_GRPC_ADDRESS": "127.0.0.1:0",
        "AKA_REST_ADDRESS": "",
        "AKA_BOOTSTRAP_API_KEY": key,
        "AKA_RATE_LIMIT": "100000000/minute",
        "AKA_MAX_IDENTIFIERS_PER_PROFILE": "10000",
    }


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{name}", *words]


@contextmanager
def _running(
    command: Sequence[str], log: Path, settings: Mapping[str, str] = {}, address: str = "grpc"
) -> Iterator[Server]:
    """Run a server that says `ready NAME=ADDRESS ...` when it serves; the server's address is the one of this name."""
    began = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None, "it is a pipe"
        line = process.stdout.readline() if select.select([process.stdout], [], [], READY_WITHIN)[0] else ""
        took = time.perf_counter() - began
        addresses = dict(word.split("=", 1) for word in line.partition("ready ")[2].split())
        if address not in addresses:
            raise ServerFailed(f"{' '.join(command)} said {line!r}; its log:\n{log.read_text()}")
        yield Server(addresses[address], process.pid, took)
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
