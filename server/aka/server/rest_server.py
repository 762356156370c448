"""The REST face: the gateway's application behind uvicorn, in this process's event loop."""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from aka.server.addresses import CannotListen, cannot_listen, family_of, is_served
from aka.server.certificates import Certificates
from aka.server.logs import log
from aka.server.rest_connection import IDLE_SECONDS, Bounds, Connection, Refuse

BACKLOG: Final = 1024
"""Connections that wait to be accepted."""
HANDSHAKE: Final = 10.0
"""Seconds that a caller has for the TLS handshake."""
GOODBYE: Final = 1.0
"""Seconds that a caller has to end TLS on its side, after which the connection is closed without that."""
MAX_CONNECTIONS: Final = 4096
"""Connections at a time."""
WARN_EVERY: Final = 60.0
"""Seconds between two warnings of too many connections."""


def max_connections() -> int:
    """Return how many connections there may be: of the files that the process may open, half are left to others."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)


def refuse_in_text(path: str, status: int, message: str) -> Response:
    """Return the answer to a request that cannot be read, as plain text."""
    return PlainTextResponse(message, status)


class RestServer:
    """An ASGI application on one address."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        refuse: Refuse = refuse_in_text,
        tls: Certificates | None = None,
        shared: bool = False,
    ) -> None:
        """`refuse` answers what never reaches the application. Without `tls` there is none.

        Where the port is `shared`, other processes' sockets may listen on it too.
        """
        self._app = app
        self._refuse = refuse
        self._tls = tls
        self._shared = shared
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, address: str) -> str:
        """Listen on `HOST:PORT` or `unix:/path` and return what is bound; port 0 picks one. CannotListen if not."""
        listening = _listen(address, shared=self._shared)
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_level="error",
            timeout_keep_alive=IDLE_SECONDS,
        )
        self._server = _Server(config, self._refuse, self._tls)
        self._serving = asyncio.create_task(self._server.serve([listening]))
        await self._server.up.wait()
        if address.startswith("unix:"):
            return address
        return f"{address.rpartition(':')[0]}:{listening.getsockname()[1]}"

    async def stop(self, grace: float) -> None:
        """Take no more requests, and give those under way `grace` seconds to end."""
        if self._server is None or self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        await self._serving


class _Server(uvicorn.Server):
    """uvicorn, but for the signals, which are the process's own."""

    def __init__(self, config: uvicorn.Config, refuse: Refuse, tls: Certificates | None) -> None:
        super().__init__(config)
        self._bounds = Bounds(max_connections(), self._warn_of_too_many, refuse)
        self._warned = -WARN_EVERY
        self._tls = tls
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()

        def connect() -> Connection:
            return Connection(self.config, self.server_state, self._bounds, loop)

        # uvicorn's own does not bound TLS in time.
        tls = None if self._tls is None else self._tls.rest_context()
        self.servers = [
            await loop.create_server(
                connect,
                sock=listening,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE if tls else None,
                ssl_shutdown_timeout=GOODBYE if tls else None,
            )
            for listening in sockets or ()
        ]
        self.started = True
        self.up.set()

    def _warn_of_too_many(self) -> None:
        if time.monotonic() - self._warned >= WARN_EVERY:
            self._warned = time.monotonic()
            log.warning("too many REST connections, new ones are closed", most=self._bounds.connections)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(address: str, *, shared: bool) -> socket.socket:
    if is_served(address):
        raise CannotListen(f"cannot listen on {address}: it is in use")
    try:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            if Path(path).is_socket():
                Path(path).unlink()
            listening = socket.socket(socket.AF_UNIX)
            try:
                listening.bind(path)
            except OSError:
                listening.close()
                raise
            return listening
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        listening = socket.create_server((host, int(port)), family=family_of(host), backlog=BACKLOG, reuse_port=shared)
        # Connections inherit it; asyncio sets it on sockets of its own making only. Without it the body of an answer
        # comes 40 ms after the head: they are two writes (Nagle, delayed ACK).
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise cannot_listen(address, error) from None
