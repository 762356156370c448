"""The server put together, by hand, in one place; and its life from the first key to the last answer."""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from shlex import quote
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aka.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from aka.server import bootstrap
from aka.server.addresses import CannotListen, is_local
from aka.server.admin_service import AdminService
from aka.server.admin_servicer import AdminServicer
from aka.server.certificates import Certificates
from aka.server.client_channel import ServerTls, aio_channel
from aka.server.config import Settings
from aka.server.domain.rules import Rules
from aka.server.errors import AkaError
from aka.server.first_calls import how_to_call
from aka.server.gateway.app import create_app, create_refuse
from aka.server.grpc_server import GrpcServer
from aka.server.keys import KeyRing, digest
from aka.server.limits import Limiter
from aka.server.local_stub import LocalStub
from aka.server.logs import log
from aka.server.methods import ADMIN_METHODS, ADMIN_SERVICE, METHODS, SERVICE
from aka.server.metrics import CallMetrics, HttpMetrics
from aka.server.pipeline import Pipeline
from aka.server.readiness import Readiness
from aka.server.rest_server import RestServer
from aka.server.service import Service
from aka.server.servicer import AliasServicer
from aka.server.stopping import Stopping
from aka.server.store.databases import open_store
from aka.server.store.store import CannotOpen, Store
from aka.server.tls import TlsError
from aka.server.tracing import CannotTrace, start_tracing
from aka.server.worker_channel import Served
from aka.v1.alias_service_pb2_grpc import AliasServiceStub

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans


CANNOT_SERVE: Final = (CannotOpen, CannotListen, TlsError, AkaError)
"""What ends a server before it serves, each with one line for the operator."""


class Counted(NamedTuple):
    """What counts while it serves; a gateway that is a process of its own has neither pipeline nor store."""

    http: HttpMetrics
    calls: CallMetrics | None = None
    store: Store | None = None


Announce = Callable[[Served, Counted], None]


async def serve_alone(settings: Settings) -> None:
    """Serve by this process alone until SIGINT or SIGTERM. Raises what `serve` does."""
    stop = Stopping(settings.drain)
    stop.begin_on_signals()
    await serve(settings, stop, lambda served, _: say_ready(settings, served))


async def serve(settings: Settings, stop: Stopping, announce: Announce) -> None:
    """Serve, announce it, and when it is to stop finish what is under way.

    Raises CannotOpen and CannotListen, each with one line for the operator.
    """
    tls = None if settings.tls is None else Certificates(settings.tls)
    spans = _start_tracing()
    store = await open_store(settings.database, settings.postgres, spans, kept_resolutions=settings.kept_resolutions)
    try:
        key = await _first_key(store, settings)
        keys = KeyRing(store)
        rules = Rules(settings.max_identifiers, settings.reserved)
        servicer = AliasServicer(Service(store), rules)
        limiter = None if settings.rate_limit is None else Limiter(settings.rate_limit)
        admin = AdminServicer(AdminService(store, keys))
        pipeline = Pipeline({SERVICE: servicer, ADMIN_SERVICE: admin}, keys, limiter, spans)
        shared = settings.workers > 1
        server = GrpcServer(pipeline, keys, reflection_needs=settings.reflection, tls=tls, shared=shared)
        http = HttpMetrics()
        stub, admin_stub = LocalStub(pipeline, METHODS), LocalStub(pipeline, ADMIN_METHODS)
        readiness = Readiness(store, lambda ready: server.tell(ready=ready))
        app = create_app(stub, admin_stub, _serves(stop, readiness), http, settings.cors_origins)
        rest = RestServer(app, refuse=create_refuse(http), tls=tls, shared=shared)
        counted = Counted(http, pipeline.metrics, store)
        metrics = _metrics_server(counted) if settings.metrics_address else None
        watching = asyncio.create_task(readiness.watch())
        try:
            bound = await server.start(settings.grpc_address)
            rest_bound = await rest.start(settings.rest_address) if settings.rest_address else "-"
            metrics_bound = await metrics.start(settings.metrics_address) if metrics else "-"
            gc.freeze()  # what was made so far stays; the collector need not look at it again and again
            gc.set_threshold(50_000, 20, 100)
            _warn_where_plain(tls, grpc=bound, rest=rest_bound)
            where = {"grpc": bound, "rest": rest_bound, "metrics": metrics_bound}
            log.info("serving", **where, database=str(settings.database), pid=os.getpid())  # without its password
            announce(Served(key=key, **where), counted)
            await stop.draining.wait()
            server.drain()
            await stop.over.wait()
            log.info("stopping", grace=settings.grace)
        finally:
            watching.cancel()
            await asyncio.gather(server.stop(settings.grace), rest.stop(settings.grace))
            if metrics:
                await metrics.stop(0)
            await keys.close()
    finally:
        await store.close()
        if spans is not None:
            await spans.close()
    log.info("stopped")


async def serve_gateway(settings: Settings, target: str, target_tls: ServerTls | None) -> None:
    """Serve the REST gateway in front of a gRPC server until SIGINT or SIGTERM. Raises CannotListen."""
    stop = Stopping(settings.drain)
    stop.begin_on_signals()
    tls = None if settings.tls is None else Certificates(settings.tls)
    async with aio_channel(target, target_tls) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def ready() -> bool:
            if stop.draining.is_set():
                return False
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=1)  # type: ignore[attr-defined]
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        http = HttpMetrics()
        stub, admin_stub = AliasServiceStub(channel), AdminServiceStub(channel)
        app = create_app(stub, admin_stub, ready, http, settings.cors_origins)
        rest = RestServer(app, refuse=create_refuse(http), tls=tls)
        metrics = _metrics_server(Counted(http)) if settings.metrics_address else None
        try:
            bound = await rest.start(settings.rest_address)
            metrics_bound = await metrics.start(settings.metrics_address) if metrics else "-"
            _warn_where_plain(tls, rest=bound)
            _warn_where_plain(target_tls, target=target)
            log.info("serving", rest=bound, metrics=metrics_bound, target=target, pid=os.getpid())
            print(f"aka ready grpc={target} rest={bound}", flush=True)
            await stop.over.wait()
            log.info("stopping", grace=settings.grace)
        finally:
            await rest.stop(settings.grace)
            if metrics:
                await metrics.stop(0)
    log.info("stopped")


def _metrics_server(counted: Counted) -> RestServer:
    """Return what shows metrics. A server without them does without all that prometheus_client imports."""
    from aka.server.metrics_server import collect_from, create_metrics_app

    return RestServer(create_metrics_app(collect_from(*counted)))


def _warn_where_plain(tls: object, **addresses: str) -> None:
    """Warn of each address that is on a network though there is no TLS."""
    for name, address in addresses.items():
        if tls is None and address != "-" and not is_local(address):
            log.warning("without TLS, keys and identifiers can be read on the network", **{name: address})


def _start_tracing() -> "Spans | None":
    """Return what makes the spans of calls, where the environment asks for them; without them aka serves too."""
    try:
        spans = start_tracing(os.environ)
    except CannotTrace as problem:
        log.warning("calls are not traced", why=str(problem))
        return None
    if spans is not None:
        log.info("calls are traced")
    return spans


def say_ready(settings: Settings, served: Served) -> None:
    """Tell on stdout that it serves, and on a terminal how to call it."""
    if settings.log_format == "text" or (settings.log_format is None and sys.stderr.isatty()):
        print(how_to_call(served.grpc, served.rest, served.key, settings.tls), file=sys.stderr, flush=True)
    print(f"aka ready grpc={served.grpc} rest={served.rest}", flush=True)


def _serves(stop: Stopping, readiness: Readiness) -> Callable[[], Awaitable[bool]]:
    async def serves() -> bool:
        return readiness.ready and not stop.draining.is_set()

    return serves


async def _first_key(store: Store, settings: Settings) -> str:
    """Give a new database its first key, and return the shell words that stand for a key."""
    given = settings.bootstrap_api_key
    if given is not None:
        secret = await bootstrap.add_first_key(store, given)
        if secret is None and await store.find_api_key(digest(given)) is None:
            log.warning("AKA_BOOTSTRAP_API_KEY was not installed: the database has other keys already")
            return "YOUR_API_KEY"
        return "$AKA_BOOTSTRAP_API_KEY"
    file = bootstrap.key_file(settings.database).absolute()
    shown = sys.stderr.isatty()
    try:
        secret = await bootstrap.add_first_key(store, None, None if shown else file)
    except OSError as error:
        raise CannotOpen(f"the first API key cannot be written to {file}: {error.strerror}") from error
    if secret is None:
        return f"$(cat {quote(str(file))})" if file.exists() else "YOUR_API_KEY"
    if shown:
        print(f"\nThe first API key, shown only now: {secret}", file=sys.stderr, flush=True)
        return secret
    log.warning("first API key written", file=str(file))
    return f"$(cat {quote(str(file))})"
