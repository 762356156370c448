"""A REST endpoint that does nothing, on Starlette, msgspec, uvicorn and uvloop: what such a gateway can do at most.

It reads a body that is JSON, and answers as aka's `POST /alias` does where all is well.
"""

import socket

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp


async def alias(request: Request) -> Response:
    """Answer whatever JSON comes."""
    msgspec.json.decode(await request.body())
    return Response(msgspec.json.encode({"ok": True, "error_code": None}), media_type="application/json")


def serve(app: ASGIApp) -> None:
    """Serve an application on a port of its own until SIGTERM."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it; see aka's rest_server.py
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="error")
    print(f"ready rest=127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/alias", alias, methods=["POST"])]))
