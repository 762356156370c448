"""Which endpoint answers a request, by its path and method, and what goes around every answer."""

from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Final, NamedTuple

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from aka.server.gateway.closing import and_close
from aka.server.gateway.request import Request
from aka.server.metrics import HttpMetrics

Endpoint = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[Request, tuple[str, ...]], Response]
"""Answers a request to no endpoint; with the methods that its path takes, if it is one."""

ANY: Final = "{method}"
"""The end of a path that stands for every method of a service."""


class Route(NamedTuple):
    """An endpoint and where it is."""

    methods: tuple[str, ...]
    path: str
    endpoint: Endpoint


def application(routes: Iterable[Route], refuse: Refuse, metrics: HttpMetrics) -> ASGIApp:
    """Return the ASGI application of some routes, whose answers it counts in `metrics`.

    (Starlette's own takes several times as long, and every call passes it.)
    """
    by_path = {route.path: (route, metrics.endpoints[route.path]) for route in routes}
    others = metrics.endpoints["other"]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        request = Request.of(scope, receive)
        route, outcomes = by_path.get(request.path) or by_path.get(_with_any(request.path)) or (None, others)
        if route is None:
            response = refuse(request, ())
        elif request.method not in route.methods:
            response, outcomes = refuse(request, route.methods), others
        else:
            response = await route.endpoint(request)
        outcomes.count(response.status_code, perf_counter() - began)
        answer = and_close(response) if response.status_code == 413 else response
        await answer(scope, receive, send)

    return app


def _with_any(path: str) -> str:
    service, _, name = path.rpartition("/")
    return f"{service}/{ANY}" if name else ""
