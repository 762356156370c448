"""A real `aka serve` in a process of its own, over a file, to be ill-treated."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.faults.load import KEY

STARTS_WITHIN = 60.0
_POLL = 0.005


class Server:
    """The servers that have one file, one after the other. Only processes that it started are ever signalled."""

    def __init__(
        self,
        folder: Path,
        *,
        database: Path | None = None,
        inside: Sequence[str] = (),
        settings: Mapping[str, str] = {},
    ) -> None:
        """`folder` takes the servers' output; `inside` is a command that runs another one where the database is.

        `settings` are environment variables in place of those that every server here has.
        """
        self.database = database or folder / "aka.db"
        self._folder = folder
        self._inside = tuple(inside)
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self.address = ""
        self.rest = ""
        """The REST gateway's address, where the settings ask for one."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    def keep_addresses(self) -> None:
        """Have those that are started later listen where this one does."""
        self._settings |= {"AKA_GRPC_ADDRESS": self.address, "AKA_REST_ADDRESS": self.rest}

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start the process, and do not wait until it serves."""
        assert not self.running, "one server at a time"
        self._starts += 1
        command = (*self._inside, *_aka("serve"))
        with self.output.open("wb") as out, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=_environment(self.database) | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    async def start(self) -> None:
        """Start the process and wait until it serves."""
        self.spawn()
        patience = time.monotonic() + STARTS_WITHIN
        while True:
            for line in _text(self.output).splitlines(keepends=True):
                if line.startswith("aka ready grpc=") and line.endswith("\n"):
                    self.address, self.rest = (part.partition("=")[2] for part in line.split()[2:4])
                    return
            if not self.running or time.monotonic() > patience:
                await self.kill()
                raise AssertionError(f"the server did not start: {_text(self.log)}")
            await asyncio.sleep(_POLL)

    @property
    def output(self) -> Path:
        """What the newest process says on stdout."""
        return self._folder / f"serve-{self._starts}.out"

    @property
    def log(self) -> Path:
        """What the newest process says on stderr."""
        return self._folder / f"serve-{self._starts}.log"

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the process's end and return its exit code."""
        assert self._process is not None
        while True:
            if (code := self._process.poll()) is not None:
                return code
            await asyncio.sleep(_POLL)

    async def kill(self) -> None:
        """End the process as kill -9 does."""
        if self.running:
            self.send(signal.SIGKILL)
            await self.ended()

    async def stop(self) -> int:
        """End the process as an operator does, and return its exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def check(self) -> None:
        """Fail where `aka check` finds anything, beside the server or after it."""
        result = await self.aka("check")
        assert result.returncode == 0, f"aka check: {result.stdout}{result.stderr}"

    async def aka(self, *arguments: str, database: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run an `aka` command over the file, or by another path, and wait for its end."""
        environment = _environment(database or self.database) | self._settings
        command = (*self._inside, *_aka(*arguments))
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def assert_no_bug_logged(self) -> None:
        """Fail where the newest process logged an internal error or a traceback."""
        for line in _text(self.log).splitlines():
            assert "internal error" not in line, line
            assert "Traceback" not in line, _text(self.log)[-4000:]


def _aka(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "aka.server", *arguments]


def _environment(database: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AKA_")}
    return kept | {
        "AKA_DATABASE_URL": f"sqlite:///{database}",
        "AKA_BOOTSTRAP_API_KEY": KEY,
        "AKA_GRPC_ADDRESS": "127.0.0.1:0",
        "AKA_REST_ADDRESS": "",
        "AKA_RATE_LIMIT": "off",
        "AKA_MAX_IDENTIFIERS_PER_PROFILE": "10000",
    }


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
