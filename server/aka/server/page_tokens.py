"""Pages of a list, and the tokens that tell where the next begins (AIP-158)."""

import base64
import hashlib
from typing import Any, Final, TypeVar

import msgspec

from aka.server.errors import invalid_value

T = TypeVar("T")

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000


def page_size(asked: int) -> int:
    """Return how many items a page may have; INVALID_VALUE at `page_size` where fewer than none are asked for."""
    if asked < 0:
        raise invalid_value("page_size", f"is {asked}; 0 or more is expected (0: {DEFAULT_PAGE})", value=str(asked))
    return min(asked or DEFAULT_PAGE, MAX_PAGE)


def write_token(listed: object, place: Any) -> str:
    """Return the token of a place in a list; the `repr` of `listed` tells the list from others."""
    return base64.urlsafe_b64encode(_seal(listed) + msgspec.json.encode(place)).decode().rstrip("=")


def read_token(token: str, listed: object, kind: type[T], *, field: str = "page_token") -> T | None:
    """Return the place, None where there is no token; INVALID_VALUE for one of another list's, or none of aka's.

    `field` is the token's, for the error.
    """
    if not token:
        return None
    seal = _seal(listed)
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        if not decoded.startswith(seal):
            raise ValueError
        return msgspec.json.decode(decoded[len(seal) :], type=kind)
    except (ValueError, msgspec.DecodeError):
        raise invalid_value(field, "is no token that this list gave; begin again without it") from None


def _seal(listed: object) -> bytes:
    """Return what ties a token to its list. It guards against mistakes, not malice."""
    return hashlib.sha256(repr(listed).encode()).digest()[:8]
