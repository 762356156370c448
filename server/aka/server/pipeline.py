"""What every call passes, whatever it came by: key, permission, limit, deadline, errors."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from aka.server import logs
from aka.server.errors import AkaError, internal, server_stopping
from aka.server.keys import KeyRing
from aka.server.limits import Limiter, Standing
from aka.server.methods import SERVICES, Method
from aka.server.metrics import CallMetrics, Outcomes
from aka.server.request_ids import given_or_new
from aka.server.service import Session
from aka.server.store.store import ApiKey
from aka.v1 import alias_service_pb2 as v1

CLOCKS_DIFFER: Final = 0.01
"""Seconds by which the timer that ends a call may be ahead of the deadline that it stands for."""

Trailers = tuple[tuple[str, str], ...]


class Incoming(NamedTuple):
    """What a transport knows of a call beside its body."""

    authorization: str | None
    request_id: str | None
    deadline: float | None
    """On the event loop's clock."""


class Reply(NamedTuple):
    """A call's end: the response or the error, and the trailing metadata that goes with either."""

    result: Message | AkaError
    request_id: str
    trailers: Trailers


class Pipeline:
    """Guards the servicers' methods."""

    def __init__(self, servicers: Mapping[str, object], keys: KeyRing, limiter: Limiter | None) -> None:
        """`servicers` are by their services' names."""
        self.services = {service: SERVICES[service] for service in servicers}
        """The methods that are served."""
        self._keys = keys
        self._limiter = limiter
        self._handlers: dict[Method, Callable[[Any, Session], Awaitable[Message]]] = {
            method: getattr(servicer, name)
            for service, servicer in servicers.items()
            for name, method in SERVICES[service].items()
        }
        self._outcomes = {method: Outcomes() for method in self._handlers}
        self._batches = frozenset(method for method in self._handlers if _answers_items(method))
        named = {(method.service, method.name): outcomes for method, outcomes in self._outcomes.items()}
        self.metrics = CallMetrics(named, refusals=defaultdict(int))
        """What came of the calls so far."""
        self.stopping = False
        """Whether calls are refused, since the server stops."""
        self.last_call = 0.0
        """When the newest call came, on the event loop's clock."""

    async def serve(self, method: Method, body: bytes | Message, incoming: Incoming) -> Reply:
        """Serve one call, and never raise but for a cancelled caller."""
        began = perf_counter()
        request_id = given_or_new(incoming.request_id)
        trailers: Trailers = (("x-request-id", request_id),)
        key: ApiKey | None = None
        now = self.last_call = asyncio.get_running_loop().time()
        result: Message | AkaError
        try:
            if self.stopping:
                raise server_stopping()
            key = self._keys.known(incoming.authorization, now) or await self._keys.check(incoming.authorization)
            request = self._admit(method, key, body)
            if self._limiter is not None:
                trailers += _limit_trailers(self._limiter.take(key.id, method.cost(request)))
            session = Session(method, key, request_id, incoming.deadline)
            result = await self._handlers[method](request, session)
        except AkaError as refusal:
            if key is not None and self._limiter is not None:  # counted or not
                trailers = trailers[:1] + _limit_trailers(self._limiter.standing(key.id))
            result = refusal
        except asyncio.CancelledError:
            self._outcomes[method].count(_why_cancelled(incoming), perf_counter() - began)
            raise
        except Exception as bug:
            logs.bug(bug, method=method.name, request_id=request_id)
            result = internal()
        self._count(method, result, perf_counter() - began)
        return Reply(result, request_id, trailers)

    def _count(self, method: Method, result: Message | AkaError, seconds: float) -> None:
        if isinstance(result, AkaError):
            self.metrics.refusals[result.reason] += 1
            self._outcomes[method].count(result.status, seconds)
            return
        self._outcomes[method].count(code_pb2.OK, seconds)
        if method in self._batches:
            for item in result.results:  # type: ignore[attr-defined]
                if item.reason:
                    self.metrics.refusals[item.reason] += 1

    def _admit(self, method: Method, key: ApiKey, body: bytes | Message) -> Message:
        """Return the request of a key that may make it."""
        if key.permissions.isdisjoint(method.permissions):
            raise AkaError(
                v1.ERROR_REASON_PERMISSION_MISSING,
                f"The API key lacks the permission {' or '.join(method.permissions)}, which {method.name} needs",
                permission=method.permissions[0],
            )
        if isinstance(body, Message):
            return body
        try:
            return method.request.FromString(body)
        except DecodeError:
            raise AkaError(
                v1.ERROR_REASON_INVALID_VALUE,
                f"The message is no {method.request.DESCRIPTOR.full_name}: it cannot be decoded, or a string in it"
                " is not UTF-8",
            ) from None


def _answers_items(method: Method) -> bool:
    results = method.response.DESCRIPTOR.fields_by_name.get("results")
    return results is not None and results.message_type is v1.ItemResult.DESCRIPTOR


def _why_cancelled(incoming: Incoming) -> int:
    now = asyncio.get_running_loop().time()
    late = incoming.deadline is not None and incoming.deadline <= now + CLOCKS_DIFFER
    return int(code_pb2.DEADLINE_EXCEEDED if late else code_pb2.CANCELLED)


def _limit_trailers(standing: Standing) -> Trailers:
    limit, remaining, reset = standing
    return (
        ("x-ratelimit-limit", str(limit)),
        ("x-ratelimit-remaining", str(remaining)),
        ("x-ratelimit-reset", str(reset)),
    )
