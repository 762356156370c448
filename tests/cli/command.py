"""The real `aka` command in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2  # noqa: F401  json_format must know what errors bear

from aka.server.methods import METHODS, SERVICE
from tests.privacy import SUITE

AKA: Final = str(Path(sys.executable).with_name("aka"))

KEY: Final = "the-key-that-opens-all"

READY: Final = re.compile(r"aka ready grpc=(\S.*) rest=(\S+)\n")

PATIENCE: Final = 60
"""Seconds after which a process that should have ended is a failed test."""


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with aka's own settings in place of any that are there; ports are free ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AKA_", "GRPC_"))}
    own = {"AKA_GRPC_ADDRESS": "127.0.0.1:0", "AKA_REST_ADDRESS": ""}
    return inherited | own | {f"AKA_{name.upper()}": value for name, value in settings.items()}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


def aka(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    ended = subprocess.run(
        [AKA, *arguments],
        cwd=cwd,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


class Serving:
    """An `aka serve`, or another command, that serves."""

    def __init__(self, process: "subprocess.Popen[str]", stderr: Path) -> None:
        self.process = process
        self._stderr = stderr
        assert process.stdout is not None
        self.ready = process.stdout.readline()
        match = READY.fullmatch(self.ready)
        if match is None:
            process.kill()
            process.wait()
            raise AssertionError(f"it does not serve: {self.ready}{self.stderr}")
        self.address, self.rest = match.groups()

    @property
    def stderr(self) -> str:
        """What it said so far."""
        return self._stderr.read_text()

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """Send a signal and return how it ended; its ready line is not in `out`."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE)
        return Ended(self.process.returncode, out, self.stderr)

    def call(self, method: str, body: Mapping[str, Any], key: str = KEY) -> dict[str, Any]:
        """Call an RPC and return the answer as JSON shows it; grpc.RpcError where it is an error."""
        with grpc.insecure_channel(self.address) as channel:
            return call(channel, method, body, key)


def call(channel: grpc.Channel, method: str, body: Mapping[str, Any], key: str = KEY) -> dict[str, Any]:
    """Call an RPC on a channel."""
    return shown(method, start(channel, method, body, key).result())


def start(channel: grpc.Channel, method: str, body: Mapping[str, Any], key: str = KEY) -> Any:
    """Begin a call and return grpc's future of its bytes."""
    SUITE.send(body, key)
    sent = json_format.ParseDict(dict(body), METHODS[method].request()).SerializeToString()
    stub: Any = channel.unary_unary(f"/{SERVICE}/{method}")
    return stub.future(sent, metadata=(("authorization", f"Bearer {key}"),), timeout=PATIENCE)


def shown(method: str, response: bytes) -> dict[str, Any]:
    """Return a response as JSON shows it."""
    answer = METHODS[method].response.FromString(response)
    return json_format.MessageToDict(answer, preserving_proto_field_name=True)


@contextmanager
def serving(
    *arguments: str, cwd: Path, key: str | None = KEY, settings: Mapping[str, str] = {}, command: str = "serve"
) -> Iterator[Serving]:
    """Run `aka serve` while the block runs; without a `key` it makes one up. `settings` are variables without AKA_."""
    given = {} if key is None else {"bootstrap_api_key": key}
    stderr = cwd / "stderr.txt"
    with stderr.open("w") as err:
        process = subprocess.Popen(
            [AKA, command, *arguments],
            cwd=cwd,
            env=environment(**given, **settings),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    with process:
        try:
            yield Serving(process, stderr)
        finally:
            if process.poll() is None:
                process.kill()
            shown = stderr.read_text().splitlines()
            SUITE.write("\n".join(line for line in shown if " curl " not in line))  # calls to be pasted are no log


def pasted(shown: str, cwd: Path, **env: str) -> list[dict[str, Any]]:
    """Run the lines that a server showed, in a shell, and return what each call answered."""
    _, _, after = shown.partition("as pasted:")
    lines = [line.strip() for line in after.splitlines() if line.startswith("  ")]
    script = "\n".join(f"{line}; echo" for line in lines)
    shell = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=cwd,
        env=environment() | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr
    decoder, text, answers = json.JSONDecoder(), shell.stdout.strip(), []
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].strip()
    return answers


def linked(answers: list[dict[str, Any]]) -> bool:
    """Whether the three calls made a user, linked an alias and found it."""
    identified, aliased, resolved = answers
    (found,) = resolved["resolutions"]
    profile_ids = {identified["results"][0]["profileId"], aliased["profileId"], found["profileId"]}
    return len(profile_ids) == 1 and found["userId"] == "user_123"


def identify(*external_ids: str) -> dict[str, Any]:
    """Return the body of Identify for users to be made known."""
    items: Sequence[dict[str, str]] = [{"external_id": external_id} for external_id in external_ids]
    return {"aliases_to_identify": items}
