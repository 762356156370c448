"""Calls on a channel, by gRPC's two APIs: what each bears, and what becomes of it."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, Final, Generic, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message

from aka.client._channel import Target, open_async_channel, open_channel
from aka.client._errors import (
    AkaError,
    DeadlineExceededError,
    Metadata,
    RateLimit,
    UnavailableError,
    error_of_call,
    rate_limit_of,
)
from aka.client._trace_context import trace_metadata
from aka.v1.alias_service_pb2_grpc import AliasServiceStub

A = TypeVar("A", bound=Message)
R = TypeVar("R", bound=Message)

_GIVEN_UP: Final = "The caller gave it up"
_WRITE_FAILED: Final = "Internal error from Core"
_LONGEST: Final = 1_000_000_000


class Call(NamedTuple):
    """A call that has ended, for `on_call`: no identifier and no key is in it."""

    method: str
    """The RPC, such as `Alias`."""
    request_id: str
    """The `x-request-id` by which the server's log has it."""
    seconds: float
    """What it took, repeats included."""
    error: AkaError | None
    rate_limit: RateLimit | None
    """Where the API key stood then, where a limit is in force."""


OnCall = Callable[[Call], None]


@dataclass(frozen=True, slots=True)
class Begun:
    """A call on its way."""

    method: str
    request_id: str
    timeout: float | None
    metadata: Sequence[tuple[str, str]] = field(repr=False)  # the API key is in it
    began: float
    on_call: OnCall | None

    def answered(self, trailers: Metadata, ended: float | None = None) -> str:
        """Report that it was answered, and return its `x-request-id`. It `ended` now unless that is told."""
        self._report(None, rate_limit_of(trailers) if self.on_call else None, ended)
        return self.request_id

    def failed(self, error: grpc.RpcError, ended: float | None = None) -> AkaError:
        """Report that it failed, and return the error."""
        return self._fail(error_of_call(error, self.request_id), ended)

    def cut_off(self, why: str) -> AkaError:
        """Report that it was cancelled, and return the error."""
        return self._fail(AkaError(grpc.StatusCode.CANCELLED, why, request_id=self.request_id), None)

    def broke(self) -> AkaError:
        """Report that it broke off, nobody knows why but where its time was up, and return the error."""
        if self.timeout is not None and time.monotonic() - self.began >= self.timeout:
            late = grpc.StatusCode.DEADLINE_EXCEEDED
            return self._fail(DeadlineExceededError(late, "Deadline exceeded", request_id=self.request_id), None)
        why = "The call ended while a message was being sent"
        return self._fail(UnavailableError(grpc.StatusCode.UNAVAILABLE, why, request_id=self.request_id), None)

    def _fail(self, error: AkaError, ended: float | None) -> AkaError:
        self._report(error, error.rate_limit, ended)
        return error

    def _report(self, error: AkaError | None, rate_limit: RateLimit | None, ended: float | None) -> None:
        if self.on_call is not None:
            seconds = (ended or time.monotonic()) - self.began
            self.on_call(Call(self.method, self.request_id, seconds, error, rate_limit))


@dataclass(frozen=True, slots=True)
class Terms:
    """What every call of a client bears."""

    api_key: str = field(repr=False)
    timeout: float
    on_call: OnCall | None

    @classmethod
    def of(cls, api_key: str | None, timeout: float, on_call: OnCall | None) -> "Terms":
        """Check them; ValueError where they cannot be. Without `api_key` it is AKA_API_KEY."""
        key = (os.environ.get("AKA_API_KEY", "") if api_key is None else api_key).strip()
        if not key:
            raise ValueError("api_key: give one, or set AKA_API_KEY")
        if not (key.isascii() and key.isprintable()):
            raise ValueError("api_key: no API key has such characters")
        return cls(key, _positive(timeout), on_call)

    def begin(self, request: Message, timeout: float | None) -> Begun:
        """Return what a call bears."""
        return self.begin_stream(type(request), self.timeout if timeout is None else timeout)

    def begin_stream(self, request: type[Message], timeout: float | None) -> Begun:
        """Return what a stream bears, which ends when it ends unless it is told a `timeout`.

        (`AliasRequest` is the request of `Alias`, and so on.)
        """
        request_id = str(uuid.uuid4())
        own = (("authorization", f"Bearer {self.api_key}"), ("x-request-id", request_id))
        return Begun(
            request.__name__.removesuffix("Request"),
            request_id,
            None if timeout is None else _positive(timeout),
            (*own, *trace_metadata()),
            time.monotonic(),
            self.on_call,
        )


class AsyncConnection:
    """Calls by grpc.aio, in one event loop. The channel is opened in the loop that makes the first call."""

    def __init__(self, target: Target | grpc.aio.Channel, terms: Terms) -> None:
        self._target = target
        self._terms = terms
        self._own: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._closed = False

    async def call(self, request: Message, answer: type[A], timeout: float | None) -> tuple[A, str]:
        """Return the answer and the call's `x-request-id`; AkaError where it is an error."""
        begun = self._terms.begin(request, timeout)
        call = getattr(self._opened(), begun.method)(request, timeout=begun.timeout, metadata=begun.metadata)
        with _reported(begun):
            answered: A = await call
            return answered, begun.answered(await call.trailing_metadata())

    async def send(
        self, messages: AsyncIterable[R], request: type[R], answer: type[A], timeout: float | None
    ) -> tuple[A, str]:
        """Send messages until they or the call end, and return what `call` does."""
        begun = self._terms.begin_stream(request, timeout)
        call = getattr(self._opened(), begun.method)(timeout=begun.timeout, metadata=begun.metadata)
        ended: list[grpc.aio.AioRpcError] = []
        call.add_done_callback(lambda done: ended.append(_error_of(done)))
        try:
            async for message in messages:
                if not await _write(call, message):
                    break
        except BaseException:
            call.cancel()
            begun.cut_off(_GIVEN_UP)
            raise
        with _reported(begun):
            with suppress(grpc.aio.InternalError):  # it has ended
                await call.done_writing()
            try:
                answered: A = await call
            except grpc.aio.AioRpcError as error:
                if error.details() != _WRITE_FAILED:
                    raise
                # By that word grpc.aio replaces the status of a call that ends while a message waits to be sent
                # (https://github.com/grpc/grpc/issues/36066).
                if ended[0].details() in (_WRITE_FAILED, None):
                    raise begun.broke() from error
                raise ended[0] from None
            return answered, begun.answered(await call.trailing_metadata())

    async def receive(self, request: Message, answer: type[A], timeout: float | None) -> AsyncGenerator[A]:
        """Yield what comes as it is needed; closing the generator cancels the call."""
        begun = self._terms.begin_stream(type(request), timeout)
        call = getattr(self._opened(), begun.method)(request, timeout=begun.timeout, metadata=begun.metadata)
        try:
            with _reported(begun):
                async for message in call:
                    yield message
                begun.answered(await call.trailing_metadata())
        finally:
            call.cancel()

    def start(self, request: Message, answer: type[A], timeout: float | None) -> "asyncio.Task[tuple[A, str]]":
        """Begin a call, to be awaited or cancelled."""
        return asyncio.create_task(self.call(request, answer, timeout))

    async def close(self) -> None:
        """End the calls under way, and the channel unless it was given."""
        self._closed = True
        if self._own is not None:
            await self._own.close()

    def _opened(self) -> Any:
        if self._closed:
            raise RuntimeError("The client is closed")
        if self._stub is None:
            if isinstance(self._target, Target):
                self._own = open_async_channel(self._target)
                self._stub = AliasServiceStub(self._own)
            else:
                self._stub = AliasServiceStub(self._target)
        return self._stub


class Connection:
    """Calls by gRPC's threaded API, from any number of threads."""

    def __init__(self, target: Target | grpc.Channel, terms: Terms) -> None:
        self._terms = terms
        channel = open_channel(target) if isinstance(target, Target) else target
        self._own = channel if isinstance(target, Target) else None
        self._stub: Any = AliasServiceStub(channel)
        self._closed = False

    def call(self, request: Message, answer: type[A], timeout: float | None) -> tuple[A, str]:
        """Return the answer and the call's `x-request-id`; AkaError where it is an error."""
        stub, begun = self._opened(), self._terms.begin(request, timeout)
        rpc = getattr(stub, begun.method)
        try:
            with self._unless_closed():
                answered, call = rpc.with_call(request, timeout=begun.timeout, metadata=begun.metadata)
            return answered, begun.answered(call.trailing_metadata())
        except grpc.RpcError as error:
            raise begun.failed(error) from error

    def start(self, request: Message, answer: type[A], timeout: float | None) -> "Started[A]":
        """Begin a call, to be waited for or cancelled."""
        stub, begun = self._opened(), self._terms.begin(request, timeout)
        rpc = getattr(stub, begun.method)
        with self._unless_closed():
            return Started(begun, rpc.future(request, timeout=begun.timeout, metadata=begun.metadata))

    def send(self, messages: Iterable[R], request: type[R], answer: type[A], timeout: float | None) -> tuple[A, str]:
        """Send messages until they or the call end, and return what `call` does."""
        stub, begun = self._opened(), self._terms.begin_stream(request, timeout)
        rpc = getattr(stub, begun.method)
        outbox: _Outbox[R] = _Outbox()
        with self._unless_closed():
            call = rpc.future(iter(outbox), timeout=begun.timeout, metadata=begun.metadata)
        started: Started[A] = Started(begun, call)
        call.add_done_callback(lambda _: outbox.end())
        try:
            for message in messages:
                if not outbox.put(message):
                    break
        except BaseException:
            started.cancel()
            raise
        outbox.end()
        return started.result()

    def receive(self, request: Message, answer: type[A], timeout: float | None) -> Generator[A, None, None]:
        """Yield what comes as it is needed; closing the generator cancels the call."""
        stub, begun = self._opened(), self._terms.begin_stream(type(request), timeout)
        rpc = getattr(stub, begun.method)
        with self._unless_closed():
            call = rpc(request, timeout=begun.timeout, metadata=begun.metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise begun.failed(error) from error
        except BaseException:
            begun.cut_off(_GIVEN_UP)
            raise
        else:
            begun.answered(call.trailing_metadata())
        finally:
            call.cancel()

    def close(self) -> None:
        """End the calls under way, and the channel unless it was given."""
        self._closed = True
        if self._own is not None:
            self._own.close()

    def _opened(self) -> Any:
        if self._closed:
            raise RuntimeError("The client is closed")
        return self._stub

    @contextmanager
    def _unless_closed(self) -> Iterator[None]:
        """Say so where another thread closed the client just now: gRPC's word for it is a ValueError."""
        try:
            yield
        except ValueError:
            if self._closed:
                raise RuntimeError("The client is closed") from None
            raise


class Started(Generic[A]):
    """A call on its way in gRPC's threads."""

    def __init__(self, begun: Begun, future: Any) -> None:
        self._begun = begun
        self._future = future
        self._ended: float | None = None
        future.add_done_callback(self._end)

    def done(self) -> bool:
        """Whether it has ended."""
        return bool(self._future.done())

    def cancel(self) -> None:
        """End it, if it has not ended, and report it."""
        if self._future.cancel():
            self._begun.cut_off(_GIVEN_UP)
        else:
            with suppress(AkaError):
                self.result()

    def result(self) -> tuple[A, str]:
        """Wait for it, and return what `Connection.call` does."""
        try:
            answered: A = self._future.result()
            return answered, self._begun.answered(self._future.trailing_metadata(), self._ended)
        except grpc.RpcError as error:
            raise self._begun.failed(error, self._ended) from error

    def _end(self, _: Any) -> None:
        self._ended = time.monotonic()


class _Outbox(Generic[R]):
    """Messages that gRPC's thread waits for and the caller's thread makes: what they are made of may be bound to it."""

    def __init__(self) -> None:
        self._room = Semaphore()
        self._messages: SimpleQueue[R | None] = SimpleQueue()
        self._ended = False

    def put(self, message: R) -> bool:
        """Put it in when there is room for one; return whether it is still wanted."""
        self._room.acquire()
        if not self._ended:
            self._messages.put(message)
        return not self._ended

    def end(self) -> None:
        """Want no more, and let go of both who wait."""
        self._ended = True
        self._messages.put(None)
        self._room.release()

    def __iter__(self) -> Iterator[R]:
        while (message := self._messages.get()) is not None:
            self._room.release()
            yield message


@contextmanager
def _reported(begun: Begun) -> Iterator[None]:
    """Report a call of grpc.aio that fails or is given up, and raise its error as an AkaError."""
    try:
        yield
    except grpc.RpcError as error:
        raise begun.failed(error) from error
    except asyncio.CancelledError:
        if not _is_cancelled():
            raise begun.cut_off("The channel was closed") from None
        begun.cut_off(_GIVEN_UP)
        raise
    except GeneratorExit:
        begun.cut_off(_GIVEN_UP)
        raise


def _error_of(call: Any) -> grpc.aio.AioRpcError:
    """Return the error of a call of grpc.aio that has ended, as it is now: later it may be another."""
    code, trailers, details = (_result_of(asked) for asked in (call.code(), call.trailing_metadata(), call.details()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=details)


def _result_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("it waits")


async def _write(call: Any, message: Message) -> bool:
    """Send a message; return whether the call goes on. Why it does not, its result tells."""
    try:
        await call.write(message)
    except (grpc.RpcError, asyncio.InvalidStateError):
        pass
    except asyncio.CancelledError:
        if _is_cancelled():
            raise
    return not call.done()


def _is_cancelled() -> bool:
    """Whether somebody cancelled the task: grpc.aio raises CancelledError too where a channel is closed."""
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())


def _positive(timeout: float) -> float:
    if not 0 < timeout <= _LONGEST:  # gRPC takes what is beyond it for a deadline that has passed
        raise ValueError(f"timeout: {timeout} is not above 0 and at most {_LONGEST} seconds")
    return timeout
