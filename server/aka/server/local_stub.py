"""A stub in process: the generated aio stub's interface over the same pipeline as the wire's."""

import asyncio
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from aka.server.deadlines import Deadline, Deadlines
from aka.server.errors import AkaError
from aka.server.methods import Method, Methods
from aka.server.pipeline import Incoming, Pipeline, Reply
from aka.server.status import CODES, status_of
from aka.server.trace_context import trace_context_of
from aka.v1 import alias_service_pb2 as v1


class LocalStub:
    """A service's methods but its streams, each called as the generated stub's: `await stub.Alias(request)`."""

    def __init__(self, pipeline: Pipeline, methods: Methods) -> None:
        self._pipeline = pipeline
        self._methods = methods
        self._deadlines = Deadlines()

    def __getattr__(self, name: str) -> Any:
        if name not in self._methods or not self._methods[name].is_unary:
            raise AttributeError(name)
        call = partial(LocalCall, self._pipeline, self._deadlines, self._methods[name])
        setattr(self, name, call)  # the next time it is found without this method
        return call


class LocalCall:
    """One call. Awaited, it returns the response or raises grpc.aio.AioRpcError, as the wire's calls do."""

    def __init__(
        self,
        pipeline: Pipeline,
        deadlines: Deadlines,
        method: Method,
        request: Message,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._deadlines = deadlines
        self._method = method
        self._request = request
        self._metadata = dict(metadata)
        self._timeout = timeout
        self._trailers: tuple[tuple[str, str | bytes], ...] = ()

    def __await__(self) -> Generator[Any, None, Message]:
        return self._call().__await__()

    async def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the trailing metadata of the call, which was awaited before."""
        return self._trailers

    async def _call(self) -> Message:
        loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else loop.time() + self._timeout
        sent = self._metadata
        incoming = Incoming(sent.get("authorization"), sent.get("x-request-id"), deadline, trace_context_of(sent))
        try:
            with Deadline(self._deadlines, deadline):
                reply = await self._pipeline.serve(self._method, self._request, incoming)
        except TimeoutError:
            late = AkaError(v1.ERROR_REASON_DEADLINE, "The deadline passed; the call was done or was not. Repeat it")
            reply = Reply(late, incoming.request_id or "", ())
        self._trailers = reply.trailers
        if isinstance(reply.result, AkaError):
            raise _raised(reply.result, reply)
        return reply.result


def _raised(error: AkaError, reply: Reply) -> grpc.aio.AioRpcError:
    details = ("grpc-status-details-bin", status_of(error, reply.request_id or None).SerializeToString())
    trailers = grpc.aio.Metadata(*reply.trailers, details)
    return grpc.aio.AioRpcError(CODES[error.status], grpc.aio.Metadata(), trailers, details=error.message)
