"""The gRPC face: the pipeline behind grpc.aio, with health and reflection beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from aka.server.addresses import CannotListen, is_served
from aka.server.certificates import Certificates
from aka.server.errors import AkaError
from aka.server.keys import KeyRing
from aka.server.methods import Method
from aka.server.pipeline import Incoming, Pipeline
from aka.server.request_ids import given_or_new
from aka.server.status import CODES, status_of
from aka.server.trace_context import TraceContext, trace_context_of
from aka.v1 import alias_service_pb2 as v1

MAX_MESSAGE: Final = 4 * 1024 * 1024
MAX_METADATA: Final = 8 * 1024
MAX_STREAMS: Final = 1024

QUIET: Final = 0.05
"""Seconds without a new call after which none is on its way any more."""
SERVING_ON: Final = 0.3
"""Seconds that a stopping server goes on serving while calls keep coming; then it refuses them."""
REFUSING: Final = 1.2
"""Seconds that it goes on refusing while calls keep coming; then it cuts them off."""
LAST_ANSWERS: Final = 1.0
"""Seconds that the last answers have to reach their callers, when no call is under way any more."""
NEVER: Final = 1e6
"""Seconds, more than any grace."""

CONNECTION_AGE: Final = 600
"""Seconds, give or take a tenth, after which a connection takes no more calls; callers make another by themselves. So
calls spread over servers that were added, and none is there for ever, as one whose message never comes would be."""
CONNECTION_GRACE: Final = 60
"""Seconds that the calls of such a connection then have to end."""

OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", MAX_METADATA),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # a caller that pings more often is sent away
    ("grpc.keepalive_time_ms", 60_000),  # one that vanished is noticed by the pings that it does not answer
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_connection_age_ms", CONNECTION_AGE * 1000),
    ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE * 1000),
)

NO_RETRY: Final = (("grpc-retry-pushback-ms", "-1"),)
"""Tells gRPC's own retries not to repeat a call that cannot pass before the window ends; one that is refused with
OVERLOADED, which has the same status, may. (https://github.com/grpc/proposal/blob/master/A6-client-retries.md)"""

_KINDS: Final[Mapping[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
}
"""How a method is registered, by whether it takes a stream and whether it gives one."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class GrpcServer:
    """The pipeline's services, grpc.health.v1.Health and reflection on one address."""

    def __init__(
        self,
        pipeline: Pipeline,
        keys: KeyRing,
        *,
        reflection_needs: str,
        tls: Certificates | None = None,
        shared: bool = False,
    ) -> None:
        """`reflection_needs` is `off` (no reflection), `key` (any good API key) or `on` (nothing).

        Without `tls` there is none. Where the port is `shared`, other processes may listen on it too; else a second
        server on it is refused, and not given half of the calls.
        """
        self._health = _Health(pipeline.services)
        self._pipeline = pipeline
        self._under_way = 0
        self._credentials = grpc.insecure_server_credentials() if tls is None else tls.grpc_credentials()
        interceptors = [_KeyForReflection(keys)] if reflection_needs == "key" else []
        options = (*OPTIONS, ("grpc.so_reuseport", int(shared)))
        self._server = grpc.aio.server(options=options, interceptors=interceptors)
        for service, methods in pipeline.services.items():
            handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
                name: _KINDS[method.takes_stream, method.gives_stream](self._handler(method))
                for name, method in methods.items()
            }
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflection_needs != "off":
            names = (*pipeline.services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    async def start(self, address: str) -> str:
        """Listen on `HOST:PORT` or `unix:/path` and return what is bound; port 0 picks one. CannotListen if not."""
        try:
            port = 0 if is_served(address) else self._server.add_secure_port(address, self._credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise CannotListen(f"cannot listen on {address}: it is in use, or not this machine's")
        await self._server.start()
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def tell(self, *, ready: bool) -> None:
        """Say SERVING or NOT_SERVING, as the store is there or away; calls are served, or refused, all the same."""
        self._health.say(ready=ready)

    def drain(self) -> None:
        """Say NOT_SERVING from now on, and serve the calls that come all the same."""
        self._health.drain()

    async def stop(self, grace: float) -> None:
        """Say NOT_SERVING, take no more calls, and give those under way `grace` seconds to end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._health.stop()
        # Calls that the transport has and no handler yet would be cut off by grpc's own stop, and their callers could
        # not tell whether they were done. So it comes when no more arrive.
        while (since := loop.time() - began) < min(SERVING_ON + REFUSING, grace) and (
            loop.time() - max(began, self._pipeline.last_call) < QUIET
        ):
            if since >= SERVING_ON:
                self._pipeline.stopping.set()
            await asyncio.sleep(QUIET / 5)
        self._pipeline.stopping.set()
        # The first stop has no timer of its own, and the second sets none: grpc crashes where the timer of one goes off
        # while the other lets the server go.
        ended = asyncio.create_task(self._server.stop(NEVER))
        while self._under_way and not ended.done() and loop.time() - began < grace:
            await asyncio.wait((ended,), timeout=QUIET / 5)
        # What grpc waits for now is last answers, or calls whose message never comes and streams that ask nothing.
        await asyncio.wait((ended,), timeout=min(LAST_ANSWERS, max(0.0, grace - (loop.time() - began))))
        if not ended.done():
            await self._server.stop(None)
        await ended

    def _handler(self, method: Method) -> Callable[[Any, Context], Awaitable[bytes]]:
        pipeline = self._pipeline

        async def handle(body: Any, context: Context) -> bytes:  # what a stream is sent with it goes out by `write`
            authorization: Any = None
            request_id: Any = None
            trace: TraceContext | None = None
            metadata = context.invocation_metadata() or ()
            for name, value in metadata:
                if name == "authorization":
                    authorization = value
                elif name == "x-request-id":
                    request_id = value
                elif name == "traceparent":
                    trace = trace_context_of({name: str(value) for name, value in metadata})
            remaining = context.time_remaining()
            deadline = None if remaining is None else asyncio.get_running_loop().time() + remaining
            self._under_way += 1
            try:
                reply = await pipeline.serve(
                    method, body, Incoming(authorization, request_id, deadline, trace), context.write
                )
            finally:
                self._under_way -= 1
            if isinstance(reply.result, AkaError):
                return await _abort(context, reply.result, reply.request_id, reply.trailers)
            context.set_trailing_metadata(reply.trailers)
            return reply.result.SerializeToString()

        return handle


class _Health(health_pb2_grpc.HealthServicer):
    """Health of the server and of each service. At the end watchers are let go, so that none holds it up.

    (Not grpcio-health-checking's servicer: there a watcher that leaves takes the others' news with it, and one that
    reads nothing blocks whoever sets a status.)
    """

    def __init__(self, services: Collection[str]) -> None:
        self._known = ("", *services)
        self._ready = True
        self._draining = False
        self._stopped = False
        self._changed = asyncio.Event()
        """Set when the health is another, and then replaced."""

    def say(self, *, ready: bool) -> None:
        """Say SERVING or NOT_SERVING from now on, unless the end was told; watchers are told."""
        self._ready = ready
        self._changed.set()
        self._changed = asyncio.Event()

    def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self._draining = True
        self.say(ready=False)

    def stop(self) -> None:
        """Say NOT_SERVING from now on, and end the watches."""
        self._stopped = True
        self.drain()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """Answer once; NOT_FOUND for a service that is not served."""
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "No such service is served")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Answer now and whenever the status is another, until the server stops."""
        told = None
        while True:
            changed, stopped = self._changed, self._stopped
            if (status := self._status(request.service)) != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            if stopped:
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        if service not in self._known:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        serving = self._ready and not self._draining
        return health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING


class _KeyForReflection(grpc.aio.ServerInterceptor):
    """Lets only callers with a good API key ask for the contract."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Answer reflection without a key with the key's error."""
        if not handler_call_details.method.startswith(f"/{reflection.SERVICE_NAME}/"):
            return await continuation(handler_call_details)
        headers = {name: value for name, value in handler_call_details.invocation_metadata if isinstance(value, str)}
        request_id = given_or_new(headers.get("x-request-id"))
        try:
            await self._keys.check(headers.get("authorization"))
        except AkaError as error:
            refusal = error
        else:
            return await continuation(handler_call_details)

        async def refuse(_: Any, context: Context) -> None:
            await _abort(context, refusal, request_id, (("x-request-id", request_id),))

        return grpc.stream_stream_rpc_method_handler(refuse)


async def _abort(context: Context, error: AkaError, request_id: str, trailers: tuple[tuple[str, str], ...]) -> NoReturn:
    details = ("grpc-status-details-bin", status_of(error, request_id).SerializeToString())
    if error.reason == v1.ERROR_REASON_RATE_LIMITED:
        trailers += NO_RETRY
    await context.abort(CODES[error.status], error.message, (*trailers, details))
