"""Three nodes that keep one PostgreSQL there: Patroni, etcd and PostgreSQL on each, with synchronous commits.

A node is a process namespace, so that it dies as a machine does: all at once, and nothing of it is left.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

TTL: Final = 20
"""Seconds that a leader may be silent, Patroni's least; then another one is elected."""

USER: Final = "postgres"
PASSWORD: Final = "of-the-fault-tests"

_TOOLS: Final = Path(sys.prefix) / "patroni" / "bin"
INSTALL: Final = "scripts/install-fault-tools installs what is missing, as root on Debian"
_POLL: Final = 0.1
_PATIENCE: Final = 120.0
_WELL: Final = ("running", "streaming")

_MACHINE: Final = ("unshare", "-U", "--map-user=1000", "--map-group=1000", "-pf", "--kill-child", "--mount-proc")
"""Runs a command as the first process of a namespace, where it is not root: PostgreSQL refuses to be."""

_NODE: Final = """
"$1" --config-file "$2/etcd.json" >>"$2/etcd.log" 2>&1 &
until "$3/python" -c 'import sys, urllib.request as http; http.urlopen(sys.argv[1], timeout=1)' "$4/health" 2>/dev/null
do sleep 0.2; done
"$3/patroni" "$2/patroni.json" >>"$2/patroni.log" 2>&1 &
wait
"""


class Node:
    """A machine with a member of etcd, a Patroni and a PostgreSQL."""

    def __init__(self, name: str, folder: Path, ports: Sequence[int]) -> None:
        self.name = name
        self.folder = folder
        self.etcd, self.etcd_peers, self.patroni, self.postgres = ports
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, nodes: Sequence["Node"], binaries: Path) -> None:
        """Write the files that its processes read."""
        self.folder.mkdir(exist_ok=True)
        peers = {node.name: f"http://127.0.0.1:{node.etcd_peers}" for node in nodes}
        etcd = {
            "name": self.name,
            "data-dir": str(self.folder / "etcd"),
            "listen-client-urls": f"http://127.0.0.1:{self.etcd}",
            "advertise-client-urls": f"http://127.0.0.1:{self.etcd}",
            "listen-peer-urls": peers[self.name],
            "initial-advertise-peer-urls": peers[self.name],
            "initial-cluster": ",".join(f"{name}={url}" for name, url in peers.items()),
            "heartbeat-interval": 250,
            "election-timeout": 2500,
            "enable-grpc-gateway": True,  # what Patroni speaks to; a file of settings leaves it off
        }
        users = {"superuser": USER, "replication": "replicator"}
        patroni = {
            "scope": "aka",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.patroni}", "connect_address": f"127.0.0.1:{self.patroni}"},
            "etcd3": {"hosts": [f"127.0.0.1:{node.etcd}" for node in nodes]},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": 5,
                    "retry_timeout": 5,
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {"max_connections": 60, "shared_buffers": "32MB", "wal_log_hints": "on"},
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.postgres}",
                "connect_address": f"127.0.0.1:{self.postgres}",
                "bin_dir": str(binaries),
                "data_dir": str(self.folder / "data"),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {kind: {"username": name, "password": PASSWORD} for kind, name in users.items()},
                "parameters": {"unix_socket_directories": str(self.folder)},
                "pg_hba": [f"host {database} all 127.0.0.1/32 scram-sha-256" for database in ("all", "replication")],
            },
        }
        (self.folder / "etcd.json").write_text(json.dumps(etcd))
        (self.folder / "patroni.json").write_text(json.dumps(patroni))

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, etcd: str) -> None:
        """Start its processes."""
        assert not self.running
        given = etcd, str(self.folder), str(_TOOLS), f"http://127.0.0.1:{self.etcd}"
        command = [*_MACHINE, "sh", "-c", _NODE, "sh", *given]
        with (self.folder / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """End all its processes at once, as a machine that loses its power does."""
        if self._process is not None:
            self._process.kill()  # and with it, the first process of the namespace; with that, all others
            self._process.wait()

    def ask(self, path: str) -> Any:
        """Return what its Patroni answers, whatever the status; None where it does not."""
        try:
            with urlopen(f"http://127.0.0.1:{self.patroni}/{path}", timeout=2) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None


class HighAvailability:
    """The set of nodes."""

    def __init__(self, nodes: Sequence[Node], etcd: str) -> None:
        self.nodes = nodes
        self._etcd = etcd

    @property
    def url(self) -> str:
        """Where the leader is found, as libpq and aka take it."""
        hosts = ",".join(f"127.0.0.1:{node.postgres}" for node in self.nodes)
        return f"postgresql://{USER}:{PASSWORD}@{hosts}/postgres?target_session_attrs=read-write&sslmode=disable"

    def start(self, node: Node) -> None:
        """Start a node, again or for the first time."""
        node.start(self._etcd)

    async def leader(self, *, other_than: Node | None = None) -> Node:
        """Wait for a leader that has a synchronous standby, and so can be written to, and return it."""

        def found(roles: Mapping[str, str]) -> bool:
            leads = [name for name, role in roles.items() if role == "leader"]
            return "sync_standby" in roles.values() and leads not in ([], [other_than and other_than.name])

        roles = await self._wait_for(found)
        return next(node for node in self.nodes if roles.get(node.name) == "leader")

    async def standby(self, node: Node) -> None:
        """Wait until a node follows the leader."""
        await self._wait_for(lambda roles: roles.get(node.name) in ("replica", "sync_standby"))

    async def _wait_for(self, found: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
        """Wait until any node's Patroni tells such roles of those that are well, and return them."""
        patience = time.monotonic() + _PATIENCE
        while time.monotonic() < patience:
            for node in self.nodes:
                told = await asyncio.to_thread(node.ask, "cluster") if node.running else None
                roles = (
                    {each["name"]: each["role"] for each in told["members"] if each["state"] in _WELL} if told else {}
                )
                if found(roles):
                    return roles
            await asyncio.sleep(_POLL)
        logs = "".join((node.folder / "patroni.log").read_text()[-1500:] for node in self.nodes)
        raise AssertionError(f"the nodes do not come to it: {roles}\n{logs}")


@asynccontextmanager
async def high_availability() -> AsyncIterator[HighAvailability]:
    """Run three nodes while the block runs, and leave nothing of them. Fails where the tools are missing."""
    etcd, binaries = _tools()
    folder = Path(tempfile.mkdtemp(prefix="aka-ha-"))
    nodes = [Node(f"node{number}", folder / f"node{number}", _ports(4)) for number in range(3)]
    try:
        for node in nodes:
            node.configure(nodes, binaries)
        own = HighAvailability(nodes, etcd)
        for node in nodes:
            own.start(node)
        yield own
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder)


def _tools() -> tuple[str, Path]:
    etcd = shutil.which("etcd")
    binaries = max(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), default=None)
    missing = [
        name
        for name, there in {"etcd": etcd, "patroni": (_TOOLS / "patroni").exists(), "PostgreSQL": binaries}.items()
        if not there
    ]
    assert etcd is not None and binaries is not None and not missing, f"{', '.join(missing)} not found: {INSTALL}"
    return etcd, binaries


def _ports(number: int) -> list[int]:
    """Ports that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
