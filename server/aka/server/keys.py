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
    """Says whose an `authorization` value is. Good keys are remembered for `FRESH_FOR` seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[bytes, tuple[ApiKey, float]] = {}

    async def check(self, authorization: str | None) -> ApiKey:
        """Return the key of `Bearer KEY`; KEY_MISSING, KEY_INVALID or KEY_REVOKED where it is not good."""
        if not authorization:
            raise AkaError(v1.ERROR_REASON_KEY_MISSING, "The call bears no API key; send `authorization: Bearer KEY`")
        if authorization[:7].lower() != _BEARER:
            raise AkaError(v1.ERROR_REASON_KEY_INVALID, "The API key must be sent as `authorization: Bearer KEY`")
        secret = authorization[7:].strip()
        hashed = digest(secret)
        key, fresh_until = self._known.get(hashed, (None, 0.0))
        now = asyncio.get_running_loop().time()
        if key is None or fresh_until <= now:
            key = await self._store.find_api_key(hashed)
            if key is None:
                self._known.pop(hashed, None)
                hint = "; it was cut short or mistyped, as its checksum tells" if looks_mistyped(secret) else ""
                raise AkaError(v1.ERROR_REASON_KEY_INVALID, f"The API key is unknown{hint}")
            self._known[hashed] = key, now + FRESH_FOR
        if key.revoked_at is not None:
            raise AkaError(v1.ERROR_REASON_KEY_REVOKED, "The API key was revoked; use another")
        if key.expires_at is not None and key.expires_at <= time.time_ns() // 1000:
            raise AkaError(v1.ERROR_REASON_KEY_REVOKED, "The API key has expired; use another")
        return key


def _checksum(random: str) -> str:
    return f"{zlib.crc32(random.encode()):08x}"
