"""The gateway's HTTP application: its endpoints, and what they answer."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp

from aka.server import logs
from aka.server.gateway import altertable, appizer, body, braze, connect, cors, docs_page, openapi
from aka.server.gateway.answer import Answer
from aka.server.gateway.calls import Caller, Stub
from aka.server.gateway.operation import Dialect, Handle
from aka.server.gateway.refusal import UNREAD, Refusal
from aka.server.gateway.request import Request
from aka.server.gateway.routes import ANY, Endpoint, Route, application
from aka.server.metrics import HttpMetrics

Ready = Callable[[], Awaitable[bool]]

JSON: Final = "application/json"
GET: Final = ("GET", "HEAD")
POST: Final = ("POST",)
RETRY_AFTER: Final = 1

DIALECTS: Final[tuple[Dialect, ...]] = (altertable, appizer, braze)


def create_app(
    stub: Stub, admin: object, ready: Ready, metrics: HttpMetrics, cors_origins: Sequence[str] = ()
) -> ASGIApp:
    """Return the ASGI application over a stub and the admin service's; `ready` says whether what is behind them serves.

    Its requests are counted in `metrics`. Pages of `cors_origins` (or of any origin: `*`) may call from a browser.
    """
    app = application(routes(stub, admin, ready), _no_such_endpoint, metrics)
    return cors.allow(app, cors_origins) if cors_origins else app


def routes(stub: Stub, admin: object, ready: Ready) -> Sequence[Route]:
    """Return every endpoint over the same."""

    async def healthz(request: Request) -> Response:
        return _respond(Answer(200, {"status": "alive"}))

    async def readyz(request: Request) -> Response:
        if await ready():
            return _respond(Answer(200, {"status": "ready"}))
        return _respond(Answer(503, {"status": "not ready"}))

    async def openapi_json(request: Request) -> Response:
        return Response(_described_as_json(), 200, media_type=JSON)

    async def docs(request: Request) -> Response:
        return Response(_described_as_page(), 200, docs_page.HEADERS, "text/html")

    def rpcs(service: str, called: object) -> Route:
        return Route(POST, f"/{service}/{ANY}", _connect_endpoint(called, service))

    return [
        *(
            Route(POST, path, _endpoint(stub, dialect, operation.handle))
            for dialect in DIALECTS
            for operation in dialect.OPERATIONS
            for path in operation.paths
        ),
        rpcs("aka.v1.AliasService", stub),
        rpcs("aka.admin.v1.AdminService", admin),
        Route(GET, "/healthz", healthz),
        Route(GET, "/readyz", readyz),
        Route(GET, "/openapi.json", openapi_json),
        Route(GET, "/docs", docs),
    ]


@cache
def _described_as_json() -> bytes:
    return msgspec.json.encode(openapi.document(DIALECTS))


@cache
def _described_as_page() -> bytes:
    return docs_page.write(openapi.document(DIALECTS))


def create_refuse(metrics: HttpMetrics) -> Callable[[str, int, str], Response]:
    """Return what answers a request that cannot be read, by its path, a status and a message.

    It speaks the dialect of the path, and Appizer's where that is no endpoint's or did not come. What it answers is
    counted in `metrics` as of no endpoint.
    """
    dialects = {path: dialect for dialect in DIALECTS for op in dialect.OPERATIONS for path in op.paths}

    def refuse(path: str, status: int, message: str) -> Response:
        metrics.endpoints["other"].count(status, 0.0)
        refusal = Refusal(UNREAD[status], message)
        caller = Caller.of({})
        if path.startswith(tuple(f"/{service}/" for service in connect.SERVICES)):
            return _with_trailers(_respond(connect.refuse(refusal, caller.request_id), caller), caller)
        return _respond(dialects.get(path, appizer).refuse(refusal), caller)

    return refuse


def _endpoint(stub: Stub, dialect: Dialect, handle: Handle) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        caller = Caller.of(request.headers)
        try:
            content, _ = await body.read(request, JSON)
            sent, caller.size = body.decode(content), len(content)
            caller.authorization = dialect.authorization(request.headers, sent)
            return _respond(await handle(sent, caller, stub), caller)
        except Refusal as refused:
            refusal = refused
        except Exception as bug:
            refusal = _bug(bug, request, caller)
        return _respond(dialect.refuse(refusal), caller, refusal)

    return endpoint


def _connect_endpoint(stub: object, service: str) -> Endpoint:
    methods = connect.SERVICES[service]

    async def endpoint(request: Request) -> Response:
        caller = Caller.of(request.headers)
        name = request.path.rpartition("/")[2]
        try:
            if name not in methods:
                raise connect.unknown_method(service, name)
            seconds = connect.timeout(request.headers)
            if seconds is not None:
                caller.deadline = time.monotonic() + seconds
            sent, content_type = await body.read(request, connect.JSON, connect.PROTO)
            caller.size = len(sent)
            asked, answered = methods[name]
            parsed = await caller.read(connect.parse, sent, content_type, asked)
            message = await caller.call(getattr(stub, name), parsed, answered)
            response = Response(connect.write(message, content_type), 200, caller.headers, content_type)
        except Refusal as refusal:
            response = _respond(connect.refuse(refusal, caller.request_id), caller, refusal)
        except Exception as bug:
            response = _respond(connect.refuse(_bug(bug, request, caller), caller.request_id), caller)
        return _with_trailers(response, caller)

    return endpoint


def _with_trailers(response: Response, caller: Caller) -> Response:
    """Give an answer the caller's headers once more, as the Connect protocol has trailing metadata."""
    for header, value in caller.headers.items():
        response.headers[f"trailer-{header}"] = value
    return response


def _bug(bug: Exception, request: Request, caller: Caller) -> Refusal:
    trace_id = None if caller.trace is None else caller.trace.trace_id
    logs.bug(bug, path=request.path, request_id=caller.request_id, trace_id=trace_id)
    return Refusal("INTERNAL", "aka failed; its log says more under this request id")


def _no_such_endpoint(request: Request, methods: tuple[str, ...]) -> Response:
    status, code = (405, "METHOD_NOT_ALLOWED") if methods else (404, "NOT_FOUND")
    answer = appizer.error_answer(status, code, f"There is no {request.method} {request.path}")
    response = _respond(answer, Caller.of(request.headers))
    if methods:
        response.headers["Allow"] = ", ".join(methods)
    return response


def _respond(answer: Answer, caller: Caller | None = None, refusal: Refusal | None = None) -> Response:
    headers = dict(caller.headers) if caller is not None else {}
    if refusal is not None and answer.status in (429, 503):
        headers["Retry-After"] = str(refusal.retry_after or RETRY_AFTER)
    if answer.status == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 15.5.2
    if answer.status == 408:
        headers["Connection"] = "close"  # what is left of the body is not waited for
    return Response(msgspec.json.encode(answer.body), answer.status, headers, JSON)
