"""What every call passes, whatever it came by: key, permission, limit, deadline, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import Message

from aka.server.errors import AkaError, internal, server_stopping
from aka.server.keys import KeyRing
from aka.server.limits import Limiter, Standing
from aka.server.methods import SERVICES, Method
from aka.server.request_ids import given_or_new
from aka.server.service import Session
from aka.server.store.store import ApiKey
from aka.server.streams import Send, received, send_all
from aka.server.trace_context import TraceContext
from aka.server.watch import Watch, Watched
from aka.v1 import alias_service_pb2 as v1

if TYPE_CHECKING:  # it needs an extra
    from aka.server.spans import Spans

Trailers = tuple[tuple[str, str], ...]


class Incoming(NamedTuple):
    """What a transport knows of a call beside its body."""

    authorization: str | None
    request_id: str | None
    deadline: float | None
    """On the event loop's clock."""
    trace: TraceContext | None = None


class Reply(NamedTuple):
    """A call's end: the response or the error, and the trailing metadata that goes with either."""

    result: Message | AkaError
    """Of a stream that was sent to its end: an empty response."""
    request_id: str
    trailers: Trailers


class Pipeline:
    """Guards the servicers' methods."""

    def __init__(
        self,
        servicers: Mapping[str, object],
        keys: KeyRing,
        limiter: Limiter | None,
        spans: Spans | None = None,
    ) -> None:
        """`servicers` are by their services' names; `spans` makes the calls' spans, where they are traced."""
        self.services = {service: SERVICES[service] for service in servicers}
        """The methods that are served."""
        self._keys = keys
        self._limiter = limiter
        self._handlers: dict[Method, Callable[[Any, Session], Any]] = {
            method: getattr(servicer, name)
            for service, servicer in servicers.items()
            for name, method in SERVICES[service].items()
        }
        self._watch = Watch(self._handlers, spans)
        self.metrics = self._watch.metrics
        """What came of the calls so far."""
        self.stopping = asyncio.Event()
        """Set while calls are refused, since the server stops. Streams under way end then, in order."""
        self.last_call = 0.0
        """When the newest call came, on the event loop's clock."""

    async def serve(self, method: Method, body: Any, incoming: Incoming, send: Send | None = None) -> Reply:
        """Serve one call, and never raise but for a cancelled caller.

        `body` is a message, encoded or not; where the method takes a stream, an async iterator of encoded ones. Where
        it gives a stream, `send` sends one of its messages.
        """
        request_id = given_or_new(incoming.request_id)
        watched = Watched(self._watch, method, request_id, incoming.deadline, incoming.trace)
        trailers: Trailers = (("x-request-id", request_id),)
        key: ApiKey | None = None
        result: Message | AkaError | None = None
        now = self.last_call = asyncio.get_running_loop().time()
        try:
            if self.stopping.is_set():
                raise server_stopping()
            key = self._keys.known(incoming.authorization, now) or await self._keys.check(incoming.authorization)
            _permit(method, key)
            session = Session(method, key, request_id, incoming.deadline)
            if method.is_unary:
                request = method.decode(body)
                if self._limiter is not None:
                    trailers += _limit_trailers(self._limiter.take(key.id, method.cost(request)))
                result = await self._handlers[method](request, session)
            else:
                result = await self._stream(body, session, incoming.authorization, send)
                if self._limiter is not None:
                    trailers += _limit_trailers(self._limiter.standing(key.id))
        except AkaError as refusal:
            if key is not None and self._limiter is not None:  # counted or not
                trailers = trailers[:1] + _limit_trailers(self._limiter.standing(key.id))
            result = refusal
        except Exception as bug:
            watched.bug(bug)
            result = internal()
        finally:
            watched.end(result, key)
        return Reply(result, request_id, trailers)

    async def _stream(self, body: Any, session: Session, authorization: str | None, send: Send | None) -> Message:
        """Serve a call that is a stream, each message of which is guarded like a call."""
        method, handler = session.method, self._handlers[session.method]

        async def guard(cost: int) -> None:
            if self._keys.known(authorization, asyncio.get_running_loop().time()) is None:
                await self._keys.check(authorization)
            if self._limiter is not None:
                self._limiter.take(session.key.id, cost)

        if method.takes_stream:
            result: Message = await handler(received(body, method, guard, self.stopping), session)
            return result
        request = method.decode(body)
        await guard(method.cost(request))
        assert send is not None, "what gives a stream comes by a transport that sends one"
        await send_all(handler(request, session), send, guard, self.stopping)
        return method.response()


def _permit(method: Method, key: ApiKey) -> None:
    """Raise PERMISSION_MISSING where a key may not make a call."""
    if key.permissions.isdisjoint(method.permissions):
        raise AkaError(
            v1.ERROR_REASON_PERMISSION_MISSING,
            f"The API key lacks the permission {' or '.join(method.permissions)}, which {method.name} needs",
            permission=method.permissions[0],
        )


def _limit_trailers(standing: Standing) -> Trailers:
    limit, remaining, reset = standing
    return (
        ("x-ratelimit-limit", str(limit)),
        ("x-ratelimit-remaining", str(remaining)),
        ("x-ratelimit-reset", str(reset)),
    )
