"""API keys: how one is made, and whether a call's is good."""

import asyncio
import hashlib
import secrets
import time
import zlib
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import uuid_utils

from aka.server.errors import AkaError
from aka.server.store.store import ApiKey, NewApiKey, Store
from aka.v1 import alias_service_pb2 as v1

PERMISSIONS: Final = frozenset(
    {
        "aliases.write",
        "keys.admin",
        "operator",
        "profiles.export",
        "profiles.merge",
        "profiles.read",
        "profiles.write",
    }
)
PREFIX: Final = "aka_"
SHORTEST: Final = 20
"""Characters that a key chosen by an operator must have."""
FRESH_FOR: Final = 0.5
"""Seconds that a key is trusted before it is looked up again, so that a revocation elsewhere holds within 1 s."""

REMEMBERED: Final = 1024
"""Keys that are remembered before those that are no longer fresh are forgotten."""

USES_ARE_WRITTEN_AFTER: Final = 60.0
"""Seconds that uses of keys are gathered before they are written, all at once."""

_BEARER: Final = "bearer "


def new_secret() -> str:
    """Return a new key: `aka_`, 128 random bits and their checksum, in hexadecimal."""
    random = secrets.token_hex(16)
    return PREFIX + random + _checksum(random)


def digest(secret: str) -> bytes:
    """Return what is kept of a key, and what it is found by."""
    return hashlib.sha256(secret.encode()).digest()


def new_key(secret: str, name: str, permissions: Collection[str], expires_at: int | None = None) -> NewApiKey:
    """Return what a store keeps of a secret. Of one that an operator chose, no part is kept to be listed."""
    prefix = secret[: len(PREFIX) + 4] if is_made_up(secret) else ""
    return NewApiKey(uuid_utils.uuid7().bytes, digest(secret), name, prefix, permissions, expires_at)


def is_made_up(secret: str) -> bool:
    """Whether aka made a key, by its checksum."""
    return secret.startswith(PREFIX) and not looks_mistyped(secret)


def looks_mistyped(secret: str) -> bool:
    """Whether a key that aka made was cut short or mistyped on its way, by its checksum."""
    random = secret.removeprefix(PREFIX)
    return secret.startswith(PREFIX) and _checksum(random[:-8]) != random[-8:]


class KeyRing:
    """Says whose an `authorization` value is. Good ones are remembered, in memory, for `FRESH_FOR` seconds.

    When a key was last used is noted in memory whenever it is looked up, so no more than `FRESH_FOR` seconds early, and
    written `USES_ARE_WRITTEN_AFTER` seconds after the first use that is not written yet, and by `close`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[ApiKey, float]] = {}
        self._forgotten = 0
        self._uses: dict[bytes, int] = {}
        self._writing: asyncio.Task[None] | None = None

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
        forgotten = self._forgotten
        key = await self._store.find_api_key(digest(secret))
        if key is None:
            hint = "; it was cut short or mistyped, as its checksum tells" if looks_mistyped(secret) else ""
            raise AkaError(v1.ERROR_REASON_KEY_INVALID, f"The API key is unknown{hint}")
        if key.revoked_at is not None:
            raise AkaError(v1.ERROR_REASON_KEY_REVOKED, "The API key was revoked; use another")
        now = time.time_ns() // 1000
        if not key.is_good(now):
            raise AkaError(v1.ERROR_REASON_KEY_REVOKED, "The API key has expired; use another")
        self._note_use(key, now)
        if forgotten == self._forgotten:  # or it may have been revoked since it was read
            fresh_for = FRESH_FOR if key.expires_at is None else min(FRESH_FOR, (key.expires_at - now) / 1e6)
            self._remember(authorization, key, fresh_for)
        return key

    def forget(self, key_id: bytes) -> None:
        """Have a key looked up again at its next use."""
        self._forgotten += 1
        self._known = {text: known for text, known in self._known.items() if known[0].id != key_id}

    async def close(self) -> None:
        """Write the uses that are not written yet."""
        if self._writing is not None:
            self._writing.cancel()
        await self._write_uses()

    def _remember(self, authorization: str, key: ApiKey, fresh_for: float) -> None:
        now = asyncio.get_running_loop().time()
        if len(self._known) >= REMEMBERED:
            self._known = {text: known for text, known in self._known.items() if known[1] > now}
        self._known[authorization] = key, now + fresh_for

    def _note_use(self, key: ApiKey, now: int) -> None:
        self._uses[key.id] = now
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_uses_in_time())

    async def _write_uses_in_time(self) -> None:
        while self._uses:
            await asyncio.sleep(USES_ARE_WRITTEN_AFTER)
            await self._write_uses()

    async def _write_uses(self) -> None:
        uses = dict(self._uses)
        if not uses:
            return
        with suppress(AkaError):  # the next time will do
            await self._store.note_api_key_uses(uses)
            self._uses = {key_id: at for key_id, at in self._uses.items() if at != uses.get(key_id)}


def _checksum(random: str) -> str:
    return f"{zlib.crc32(random.encode()):08x}"
