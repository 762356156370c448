"""One call of a stub for one request: the key, the request id and the deadline go with it, the limits come back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol, TypeVar, cast

import grpc

from aka.server.gateway.refusal import Refusal, refusal_of_call
from aka.server.request_ids import given_or_new
from aka.server.trace_context import TraceContext, trace_context_of

M = TypeVar("M")
T = TypeVar("T")

MAX_SECONDS: Final = 30.0
"""What a call may take where the request sets no deadline of its own."""

MAX_KEY: Final = 4096
"""Characters of an authorization that are passed on: no key is that long, and metadata has its limit."""

LARGE: Final = 32 * 1024
"""Bytes of a body that a thread makes a message of: for a mebibyte that takes up to a second, with a key or without."""
_LARGE_BODIES: Final = ThreadPoolExecutor(1, "large-bodies")

_OF_WHAT_WAS_ASKED: Final = frozenset({400, 404, 409})
"""Statuses of refusals that come after key, permission and limit."""

_LIMIT_HEADERS: Final = {
    "x-ratelimit-limit": "X-RateLimit-Limit",
    "x-ratelimit-remaining": "X-RateLimit-Remaining",
    "x-ratelimit-reset": "X-RateLimit-Reset",
}


class Stub(Protocol):
    """aka.v1.AliasService's generated aio stub, or what is like it in process."""

    @property
    def Alias(self) -> Callable[..., Any]:
        """The RPC of this name."""
        ...

    @property
    def BatchAlias(self) -> Callable[..., Any]:
        """The RPC of this name."""
        ...

    @property
    def CreateAliases(self) -> Callable[..., Any]:
        """The RPC of this name."""
        ...

    @property
    def Identify(self) -> Callable[..., Any]:
        """The RPC of this name."""
        ...

    @property
    def Track(self) -> Callable[..., Any]:
        """The RPC of this name."""
        ...

    @property
    def ExportProfiles(self) -> Callable[..., Any]:
        """The RPC of this name."""
        ...


@dataclass(slots=True)
class Caller:
    """Who asks over HTTP, and what the calls made for it answered beside their messages."""

    authorization: str | None
    request_id: str
    trace: TraceContext | None = None
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)
    limits: dict[str, str] = field(default_factory=dict)
    """The rate limit as the last call told it, as headers."""
    size: int = 0
    """Bytes of the request's body."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Caller":
        """Return the caller of a request with these headers, its request id made where they have none that is good."""
        request_id = given_or_new(headers.get("x-request-id"))
        return cls(headers.get("authorization"), request_id, trace_context_of(headers))

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers: request id and rate limit."""
        return {"x-request-id": self.request_id} | self.limits

    async def read(self, read: Callable[..., T], *sent: Any) -> T:
        """Return what `read` makes of what was sent. Where that is large, other requests go on meanwhile."""
        if self.size < LARGE:
            return read(*sent)
        return await asyncio.get_running_loop().run_in_executor(_LARGE_BODIES, read, *sent)

    async def call(self, rpc: Callable[..., Any], request: Any, answer: type[M], refusal: Refusal | None = None) -> M:
        """Call one of the stub's methods and return its answer; Refusal where it has none.

        `refusal` is what the gateway itself has against a value of the request. It is raised where the call would get
        as far as to its values, for the caller's key, permission and limit come first.
        """
        if refusal is not None:
            await self._refuse(rpc, request, answer, refusal)
        call = rpc(request, metadata=self._metadata(), timeout=max(0.001, self.deadline - time.monotonic()))
        try:
            response = await cast("Awaitable[M]", call)
        except grpc.aio.AioRpcError as error:
            trailers = tuple(error.trailing_metadata() or ())
            self._note(trailers)
            raise refusal_of_call(error, trailers) from None
        self._note(tuple(await call.trailing_metadata() or ()))
        assert isinstance(response, answer)
        return response

    async def _refuse(self, rpc: Callable[..., Any], request: Any, answer: type[M], refusal: Refusal) -> NoReturn:
        if "validate_only" in request.DESCRIPTOR.fields_by_name:  # what has no such field changes nothing
            request.validate_only = True
        try:
            await self.call(rpc, request, answer)
        except Refusal as refused:
            if refused.http_status not in _OF_WHAT_WAS_ASKED:
                raise
        raise refusal

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        metadata: tuple[tuple[str, str], ...] = (("x-request-id", self.request_id),)
        if self.trace is not None:
            metadata += self.trace.headers
        if self.authorization:
            # What metadata cannot carry is no key either.
            given = self.authorization
            good = len(given) <= MAX_KEY and given.isascii() and given.isprintable()
            metadata += (("authorization", given if good else "?"),)
        return metadata

    def _note(self, trailers: tuple[tuple[str, Any], ...]) -> None:
        self.limits.update({_LIMIT_HEADERS[name]: value for name, value in trailers if name in _LIMIT_HEADERS})


def bearer(secret: str | None) -> str | None:
    """Return an authorization that bears a key."""
    return f"Bearer {secret}" if secret else None
