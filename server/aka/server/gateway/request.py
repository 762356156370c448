"""A request as endpoints read it, of what ASGI tells."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from starlette.types import Receive, Scope

WHOLE_BODY: Final = "aka.whole_body"
"""The ASGI extension by which aka's HTTP server tells that the first message has all of the body, at once."""


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    """Without its query."""
    headers: Mapping[str, str]
    """By lower-case names; of those that came twice, the first."""
    receive: Receive
    """Returns the next of ASGI's messages, which have the body."""
    is_whole: bool
    """Whether the first message has all of the body and is there already."""

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Self:
        """Return the request of an ASGI scope of HTTP."""
        sent: list[tuple[bytes, bytes]] = scope["headers"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(sent)}
        extensions: Mapping[str, Any] = scope.get("extensions", {})
        return cls(scope["method"], scope["path"], headers, receive, WHOLE_BODY in extensions)
