"""Which pages may call the gateway from a browser (CORS), and what of its answers they may read."""

from collections.abc import Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

_SENT: Final = (
    "authorization",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-request-id",
)
_LIMITS: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
_READ: Final = (
    "retry-after",
    "www-authenticate",
    "x-request-id",
    *_LIMITS,
    *(f"trailer-{name}" for name in ("x-request-id", *_LIMITS)),
)


def allow(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Return `app` with pages of these origins, or of any (`*`), let call; their keys are headers, never cookies."""
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=_SENT, expose_headers=_READ
    )
