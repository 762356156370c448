"""An endpoint of a dialect: where it is, what answers it, and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aka.server.gateway.answer import Answer
from aka.server.gateway.calls import Caller, Stub
from aka.server.gateway.refusal import Refusal
from aka.server.gateway.schema import Schema

Security = tuple[dict[str, list[str]], ...]
Handle = Callable[[Any, Caller, Stub], Awaitable[Answer]]


class Operation(NamedTuple):
    """A `POST` of JSON. The docstring of `handle` is its summary."""

    paths: tuple[str, ...]
    handle: Handle
    request: Schema
    example: Any
    status: int
    """Of success."""
    answer: Schema
    refusals: frozenset[str] = frozenset()
    """The reasons for which it may be refused, beside those that every call has."""


class Dialect(Protocol):
    """What a dialect's module has."""

    @property
    def NAME(self) -> str:
        """What it is called."""
        ...

    @property
    def OPERATIONS(self) -> tuple[Operation, ...]:
        """Its endpoints."""
        ...

    @property
    def SECURITY(self) -> Security:
        """Where the key may be, in the OpenAPI document's words; nothing: in the body."""
        ...

    @property
    def CODE(self) -> str | None:
        """The field of an error that has its code."""
        ...

    def authorization(self, headers: Mapping[str, str], sent: Any) -> str | None:
        """Return the `Bearer KEY` of a request, wherever the dialect has it."""
        ...

    def refuse(self, refusal: Refusal) -> Answer:
        """Say why a request was refused."""
        ...

    def error(self, codes: Sequence[str]) -> Schema:
        """Return the schema of an error that has one of these codes."""
        ...
