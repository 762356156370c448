"""A place like a container: a read-only root but for the data, and a network of its own with the loopback alone."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.command import PATIENCE, READY, Ended
from tests.image.dockerfile import Settings


@dataclass(frozen=True)
class Container:
    """Runs an image's commands as the image says."""

    settings: Settings
    env: Mapping[str, str]
    data: Path
    """The data's folder, as this process sees it."""
    into: tuple[str, ...]
    """Runs a command in the network and among the mounts; the command's process keeps the id."""
    confined: tuple[str, ...]
    """Runs a command there as the image's user, in its root; the command's process keeps the id."""

    @property
    def database(self) -> str:
        """The path of the database, as the container sees it."""
        return self.env["AKA_DATABASE_URL"].removeprefix("sqlite:///")

    def start(self, *words: str, err: Path | None = None) -> "subprocess.Popen[str]":
        """Start a command of the image; what it says on stderr goes into a file."""
        with (err or Path(os.devnull)).open("w") as stderr:
            return subprocess.Popen(
                [*self.into, *self.confined, *words],
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def run(self, *words: str) -> Ended:
        """Run a command of the image to its end."""
        return _ended([*self.into, *self.confined, *words], self.env)

    def visit(self, *words: str) -> Ended:
        """Run a command of this machine in the container's network."""
        return _ended([*self.into, *words], os.environ)


class Serving:
    """A container that runs what its image runs."""

    def __init__(self, container: Container, stderr: Path) -> None:
        self.container = container
        self.stderr = stderr
        settings = container.settings
        self.process = container.start(*settings.entrypoint, *settings.command, err=stderr)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        if not READY.fullmatch(self.ready):
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it does not serve: {self.ready}{stderr.read_text()}")

    def stop(self) -> int:
        """Send the image's stop signal and return the exit code."""
        self.process.send_signal(signal.Signals[self.container.settings.stop_signal])
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@contextmanager
def serving(container: Container, stderr: Path) -> Iterator[Serving]:
    """Run the image while the block runs."""
    server = Serving(container, stderr)
    with server.process:
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.kill()


def _ended(command: Sequence[str], env: Mapping[str, str]) -> Ended:
    ended = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=PATIENCE, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)
