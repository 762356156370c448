"""The balancer of deploy/compose.yaml, by its own configuration but for where it and the servers listen."""

import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cli.command import Serving
from tests.image.dockerfile import ROOT

CONFIGURATION: Final = ROOT / "deploy/haproxy.cfg"


@contextmanager
def balancing(servers: Sequence[Serving], folder: Path) -> Iterator[str]:
    """Balance over servers while the block runs; yields the gRPC address."""
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    file = folder / "haproxy.cfg"
    file.write_text(placed(servers, grpc, rest))
    with (folder / "haproxy.txt").open("w") as log:
        process = subprocess.Popen(["haproxy", "-f", file], stdout=log, stderr=log)
    try:
        yield grpc
    finally:
        process.kill()
        process.wait()


def placed(servers: Sequence[Serving], grpc: str, rest: str) -> str:
    """Return the configuration for servers and listeners on this machine."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    text = re.sub(r"^resolvers .*\n(?: .*\n)*", "", text, flags=re.MULTILINE).replace(
        "resolvers docker init-addr libc,none", ""
    )
    for number, server in enumerate(servers, start=1):
        looked_at = f"port {server.rest.rpartition(':')[2]}"
        text = text.replace(f"aka-{number}:50051", f"{server.address} {looked_at}")
        text = text.replace(f"aka-{number}:8080", f"{server.rest} {looked_at}")
    return text.replace("bind :50051", f"bind {grpc}").replace("bind :8080", f"bind {rest}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
