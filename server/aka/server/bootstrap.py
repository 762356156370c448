"""The first API key of a database that has none."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aka.server import keys
from aka.server.store.postgres_url import Database, PostgresUrl
from aka.server.store.sqlite_file import MEMORY
from aka.server.store.store import Store

WORKSPACE: Final = "default"
NAME: Final = "bootstrap"


async def add_first_key(store: Store, given: str | None, file: Path | None = None) -> str | None:
    """Install the given key, or a made-up one, with every permission, where the store has no key at all.

    Returns the key that was installed, which is in `file` then; None where there was one already. OSError where
    the file cannot be written: no key is installed that nobody knows. Where a start was cut off, the next one goes on
    with the key that it had written down.
    """
    if file is None:
        secret = given or keys.new_secret()
        return secret if await _add(store, secret) else None
    draft = file.with_name(f"{file.name}.new")
    with _alone_in(file.parent):
        secret = _read(draft) or keys.new_secret()
        _write_down(secret, draft)
        added = await _add(store, secret)
        if added or await store.find_api_key(keys.digest(secret)):
            draft.replace(file)
        else:
            draft.unlink()
    return secret if added else None


def key_file(database: Database) -> Path:
    """Return the file that a made-up key is written to: beside the database's, or where the server was started."""
    if isinstance(database, PostgresUrl):
        return Path("aka-postgres.key")
    return Path("aka-memory.key" if database == MEMORY else f"{database}.key")


async def _add(store: Store, secret: str) -> bool:
    return await store.add_first_api_key(WORKSPACE, keys.new_key(secret, NAME, keys.PERMISSIONS))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other server that starts is writing its first key into the folder, as many of one database may."""
    held = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _read(draft: Path) -> str | None:
    """Return the key that was written down whole; None where there is none."""
    if not draft.exists():
        return None
    secret = draft.read_text(encoding="ascii", errors="replace").strip()
    return secret if keys.is_made_up(secret) else None


def _write_down(secret: str, file: Path) -> None:
    """Write a key into a file that only its owner can read, in place of what was there."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secret + "\n")
        opened.flush()
        os.fsync(opened.fileno())
