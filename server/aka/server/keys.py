"""API keys: how one is made, and whether a call's is good."""

import asyncio
import hashlib
import secrets
import time
import zlib
from typing import Final

from aka.server.errors import AkaError
from aka.server.store.store import ApiKey, Store
from aka.v1 import alias_service_pb2 as v1

PERMISSIONS: Final = frozenset({"profiles.read", "aliases.write", "profiles.merge", "keys.admin", "operator"})
PREFIX: Final = "aka_"
SHORTEST: Final = 20
"""Characters that a key chosen by an operator must have."""
FRESH_FOR: Final = 0.5
"""Seconds that a key is trusted before it is looked up again, so that a revocation elsewhere holds within 1 s."""

REMEMBERED: Final = 1024
"""Keys that are remembered before those that are no longer fresh are forgotten."""

_BEARER: Final = "bearer "


def new_secret() -> str:
    """Return a new key: `aka_`, 128 random bits and their checksum, in hexadecimal."""
    random = secrets.token_hex(16)
    return PREFIX + random + _checksum(random)


def digest(secret: str) -> bytes:
    """Return what is kept of a key, and what it is found by."""
    return hashlib.sha256(secret.encode()).digest()


def looks_mistyped(secret: str) -> bool:
    """Whether a key that aka made was cut short or mistyped on its way, by its checksum."""
    random = secret.removeprefix(PREFIX)
    return secret.startswith(PREFIX) and _checksum(random[:-8]) != random[-8:]


class KeyRing:
    """Says whose an `authorization` value is. Good ones are remembered, in memory, for `FRESH_FOR` seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[ApiKey, float]] = {}

    def known(self, authorization: str | None, now: float) -> ApiKey | None:
        """Return a key that was found good a moment before `now`, on the event loop's clock; else None."""
        key, fresh_until = self._known.get(authorization or "", (None, 0.0))
        return key if fresh_until > now else None

    async def check(self, authorization: str | None) -> ApiKey:
        """Return the key of `Bearer KEY`; KEY_MISSING, KEY_INVALID or KEY_REVOKED where it is not good."""
        if not authorization:
            raise AkaError(v1.ERROR_REASON_KEY_MISSING, "The call bears no API key; send `authorization: Bearer KEY`")
        if authorization[:7].lower() != _BEARER:
            raise AkaError(v1.ERROR_REASON_KEY_INVALID, "The API key must be sent as `authorization: Bearer KEY`")
        secret = authorization[7:].strip()
        key = await self._store.find_api_key(digest(secret))
        if key is None:
            hint = "; it was cut short or mistyped, as its checksum tells" if looks_mistyped(secret) else ""
            raise AkaError(v1.ERROR_REASON_KEY_INVALID, f"The API key is unknown{hint}")
        if key.revoked_at is not None:
            raise AkaError(v1.ERROR_REASON_KEY_REVOKED, "The API key was revoked; use another")
        if key.expires_at is None:
            self._remember(authorization, key)
        elif key.expires_at <= time.time_ns() // 1000:
            raise AkaError(v1.ERROR_REASON_KEY_REVOKED, "The API key has expired; use another")
        return key

    def _remember(self, authorization: str, key: ApiKey) -> None:
        now = asyncio.get_running_loop().time()
        if len(self._known) >= REMEMBERED:
            self._known = {text: known for text, known in self._known.items() if known[1] > now}
        self._known[authorization] = key, now + FRESH_FOR


def _checksum(random: str) -> str:
    return f"{zlib.crc32(random.encode()):08x}"
