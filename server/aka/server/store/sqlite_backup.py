"""Copies of a SQLite file: one that is taken while the file is served, and one that takes its place."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from aka.server.store.audit import Report
from aka.server.store.sqlite_check import check
from aka.server.store.sqlite_file import MEMORY, Ownership
from aka.server.store.sqlite_migrations import migrate, pending
from aka.server.store.store import CannotOpen

_STEP: Final = 4096
"""Pages that are copied before Ctrl-C is heard."""
_LOGS: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file and would apply to whatever bears the file's name."""


class CannotCopy(Exception):
    """There is no copy, and nothing was changed; the message is one line for the operator."""

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class Restored(NamedTuple):
    """What `restore` did."""

    report: Report
    aside: Path | None
    """What the database that was there is called now."""


def back_up(path: str, file: str, *, replace: bool, thorough: bool) -> Report:
    """Copy a database into a file, beside the server that owns it or without one; CannotCopy otherwise.

    The copy is one snapshot: everything that was committed when it began. It gets its name when it is whole, synced
    and found in order: by SQLite's quick check, or where it is to be `thorough` by the check of `check_file`. It is one
    file, without a log beside it. Until the copy is made the server's log keeps what is written meanwhile.
    """
    with _told(f"{path} cannot be backed up"), _draft(Path(file), path) as draft:
        _refuse_to_replace(Path(file), path, replace=replace)
        _copy(path, draft)
        report = _check(draft, thorough=thorough)
        if report.faults:
            raise CannotCopy(f"{path} is damaged, so no backup was made", report.faults)
        _put(draft, Path(file))
    return report


def restore(file: str, path: str, *, replace: bool) -> Restored:
    """Put a copy of a backup in a database's place, where no server owns it; CannotCopy otherwise.

    The copy is migrated and checked as `check_file` does before anything is changed. A database that is there already
    is refused, or where it may be replaced keeps its content under another name.
    """
    with _told(f"{file} cannot be restored to {path}"), _owned(path) as database, _draft(database, file) as draft:
        _refuse_to_replace(database, file, replace=replace)
        _copy(file, draft)
        with closing(_connect(str(draft), "rw")) as copy:
            migrate(copy)
        report = _check(draft, thorough=True)
        if report.faults:
            raise CannotCopy(f"{file} is damaged, so it was not restored", report.faults)
        aside = _set_aside(database)
        _put(draft, database)
    return Restored(report, aside)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell what cannot be done, where the file system or SQLite cannot do it."""
    try:
        yield
    except (CannotOpen, sqlite3.Error) as error:
        raise CannotCopy(f"{what}: {error}") from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CannotCopy(f"{what}: {where}{error.strerror}") from error


@contextmanager
def _owned(path: str) -> Iterator[Path]:
    """Own a database while the block runs, be it there or not; returns the file itself."""
    if path == MEMORY:
        raise CannotCopy("a database in memory has nothing to restore to; name a file")
    owner = Ownership(path)
    try:
        yield Path(os.path.realpath(path))
    finally:
        owner.release()


@contextmanager
def _draft(file: Path, source: str) -> Iterator[Path]:
    """Make the file that the copy is written to: beside its place, for its owner alone to read.

    It goes where the block fails. One that was left by a killed process is used again.
    """
    if not Path(source).is_file():
        raise CannotCopy(f"{source} cannot be copied: there is no such file")
    draft = file.with_name(f"{file.name}.new")
    if draft.exists() and draft.samefile(source):
        raise CannotCopy(f"{draft} is the file to copy and cannot be the draft of the copy; give one another name")
    number = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(number, draft)
        os.fchmod(number, 0o600)
        os.ftruncate(number, 0)
        _remove(draft, *_LOGS)
        try:
            yield draft
        except BaseException:
            _remove(draft, "", *_LOGS)
            raise
    finally:
        os.close(number)


def _lock(number: int, draft: Path) -> None:
    """Lock the draft, so that two processes do not write one; the lock is gone with the process."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotCopy(f"{draft} is being written by another aka process") from None
    if not (draft.exists() and os.path.samestat(os.fstat(number), draft.stat())):
        raise CannotCopy(f"{draft} was written by another aka process just now")


def _refuse_to_replace(file: Path, source: str, *, replace: bool) -> None:
    if not file.exists():
        return
    if file.samefile(source):
        raise CannotCopy(f"{file} and {source} are the same file")
    if not replace:
        raise CannotCopy(f"{file} is there already; name another file, or say --replace")


def _copy(source: str, draft: Path) -> None:
    """Copy one snapshot of a database of aka's, its log included, into a file without a log."""
    with closing(_connect(source, "ro")) as original, closing(_connect(str(draft), "rw")) as copy:
        original.execute("BEGIN")  # or each write of the server would make the copy begin again
        pending(original)  # what is not aka's, or is a newer aka's, is refused
        if original.execute("SELECT 1 FROM sqlite_schema").fetchone() is None:
            raise CannotCopy(f"{source} is empty: there is nothing to copy")
        copy.execute("PRAGMA journal_mode = OFF")  # a draft needs no rollback, and is synced once, when it is whole
        copy.execute("PRAGMA synchronous = OFF")
        original.backup(copy, pages=_STEP, progress=lambda *_: None)  # a function, so that Python runs between steps
        copy.execute("PRAGMA journal_mode = DELETE")  # or a reader would need to write a log beside it


def _check(draft: Path, *, thorough: bool) -> Report:
    with closing(_connect(str(draft), "rw")) as copy:
        if not thorough:
            return Report("quick check", [line for (line,) in copy.execute("PRAGMA quick_check") if line != "ok"])
        if pending(copy):
            raise CannotCopy(
                "a database that lacks migrations cannot be checked; run `aka migrate`, or leave out --check"
            )
        return check(copy)


def _set_aside(database: Path) -> Path | None:
    """Give what is in a database's place another name, its log included; return the name, None for nothing.

    The name itself is given away last, by `_put`: a database that a crash leaves here is the old one or the new one.
    """
    aside = database.with_name(f"{database.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    there = database.exists()
    if there:
        with contextlib.suppress(CannotOpen, sqlite3.Error):  # what SQLite cannot read is kept byte by byte
            with closing(_connect(str(database), "ro")) as old:
                pending(old)
            with closing(_connect(str(database), "rw")) as old:  # the log goes into the file, as when it is served
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.link(database, aside)
    for suffix in _LOGS:  # the new database must not find one: SQLite would apply it to whatever bears the name
        with contextlib.suppress(FileNotFoundError):
            Path(f"{database}{suffix}").rename(f"{aside}{suffix}")
    _sync(database.parent)
    return aside if there else None


def _put(draft: Path, file: Path) -> None:
    """Give a draft its name, once its content is on the disk."""
    _sync(draft)
    draft.replace(file)
    _sync(file.parent)


def _connect(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, isolation_level=None)


def _remove(file: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        Path(f"{file}{suffix}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
