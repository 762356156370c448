"""A SQLite file and the process that owns it."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final, TypeVar

from aka.server.store.store import CannotOpen

T = TypeVar("T")

MEMORY: Final = ":memory:"


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code of an error; 0 where the error is not SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction, if SQLite has not done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


class Ownership:
    """The lock that makes this process the only one that has a SQLite file. Gone with the process, however it ends."""

    def __init__(self, path: str) -> None:
        # Beside the file itself, by whatever name it is opened.
        self._file = os.open(f"{os.path.realpath(path)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise CannotOpen(
                f"{path} is served by another aka process; one process owns a SQLite file (its lock: {path}.lock)"
            ) from None

    def release(self) -> None:
        """Let another process have the file."""
        os.close(self._file)


def own(path: str) -> Ownership | None:
    """Take the file for this process; CannotOpen where that cannot be. A database in memory needs no owner."""
    if path == MEMORY:
        return None
    folder = Path(path).parent
    if not folder.is_dir():
        raise CannotOpen(f"{path} cannot be opened: the folder {folder} does not exist")
    try:
        # Made here rather than by SQLite: identifiers are for the file's owner alone to read.
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return Ownership(path)
    except OSError as error:
        raise CannotOpen(f"{path} cannot be opened: {error.strerror}") from error
