"""The files of imports and exports: lines that may be of any length, and what was read or written so far."""

import errno
import fcntl
import gzip
import hashlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TextIO, TypeVar

import msgspec

from aka.server.link_rows import Format

S = TypeVar("S")

STANDARD: Final = "-"
"""The name of stdin and stdout."""
LONGEST_LINE: Final = 64 * 1024
"""Bytes. A longer one is no link, and is not held in memory."""

_FORMATS: Final[dict[str, Format]] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_BOM: Final = b"\xef\xbb\xbf"


class Changed(Exception):
    """What was read before is not what is there now."""


class Busy(Exception):
    """Another process works with the file."""


class Line(NamedTuple):
    """A line of a file."""

    number: int
    """From 1."""
    text: bytes
    """Without its end; the first bytes where it is too long."""
    is_too_long: bool


def format_of(name: str) -> Format | None:
    """Return the format that a file's name tells, also where it ends with .gz."""
    path = Path(name.removesuffix(".gz"))
    return _FORMATS.get(path.suffix.lower())


class Source:
    """A file that is read line by line, and the digest of what was read. One that ends with .gz is unpacked."""

    def __init__(self, name: str) -> None:
        """Open it; OSError where that cannot be."""
        self._raw: BinaryIO = _binary(sys.stdin) if name == STANDARD else Path(name).open("rb")  # noqa: SIM115
        is_packed = name.endswith(".gz")
        self._file = io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if is_packed else self._raw
        self._digest = hashlib.sha256()
        self._can_tell = name != STANDARD
        self.size = os.fstat(self._raw.fileno()).st_size if self._can_tell else 0
        """Bytes of the file as it is on the disk; 0 where that is not known."""
        self.offset = 0
        """Bytes of lines that were read."""
        self.number = 0
        """Lines that were read."""

    @property
    def position(self) -> int:
        """How much of `size` was read, about."""
        return self._raw.tell() if self._can_tell else 0

    @property
    def digest(self) -> str:
        """SHA-256 of what was read."""
        return self._digest.copy().hexdigest()

    def hold(self) -> None:
        """Keep what stands beside it to this process, until it is closed; Busy where another has it."""
        _lock(self._raw)

    def skip(self, offset: int, number: int, digest: str) -> None:
        """Go on behind what was read before; Changed where it is not the same any more."""
        while self.offset < offset and (read := self._file.read(min(1 << 20, offset - self.offset))):
            self._note(read)
        self.number = number
        if (self.offset, self.digest) != (offset, digest):
            raise Changed

    def lines(self) -> Iterator[Line]:
        """Return the lines that follow. Of the file's first, a byte order mark is left out."""
        while read := self._file.readline(LONGEST_LINE):
            self._note(read)
            text, is_too_long = read, False
            while not read.endswith(b"\n") and (read := self._file.readline(LONGEST_LINE)):
                self._note(read)
                is_too_long = is_too_long or bool(read.strip(b"\r\n"))
            self.number += 1
            if self.number == 1:
                text = text.removeprefix(_BOM)
            yield Line(self.number, text.rstrip(b"\r\n"), is_too_long)

    def close(self) -> None:
        """Let the file go."""
        self._raw.close()

    def _note(self, read: bytes) -> None:
        self._digest.update(read)
        self.offset += len(read)


class Sink:
    """A file that is written in pieces, each of which is there for good once it was kept.

    What is `packed` is so piece by piece, which gzip reads as one.
    """

    def __init__(self, path: Path, size: int, *, packed: bool = False) -> None:
        """Go on behind `size` bytes that were kept before; OSError, Busy, or Changed, where that cannot be."""
        self._file = path.open("r+b" if size else "ab")
        try:
            _lock(self._file)
            if not path.exists() or not os.path.samestat(os.fstat(self._file.fileno()), path.stat()):
                raise Busy  # another ended just now, and put it where it belongs
            if self._file.seek(0, os.SEEK_END) < size:
                raise Changed
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(size)
        self._file.seek(size)
        self._packs = packed
        self._piece: gzip.GzipFile | None = None

    def write(self, text: bytes) -> None:
        """Write what belongs to the piece."""
        if self._packs and self._piece is None:
            self._piece = gzip.GzipFile(fileobj=self._file, mode="wb", mtime=0)
        (self._piece or self._file).write(text)

    def keep(self) -> int:
        """End the piece and return the file's size, which is on the disk."""
        if self._piece is not None:
            self._piece.close()
            self._piece = None
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Let the file go; what was not kept may be in it or not."""
        self._file.close()


class StandardOutput:
    """Stdout as a `Sink`."""

    def __init__(self) -> None:
        """Take it; OSError where it is closed."""
        self._file = _binary(sys.stdout)

    def write(self, text: bytes) -> None:
        """Write."""
        self._file.write(text)

    def keep(self) -> int:
        """Let what was written go out; return what is no size."""
        self._file.flush()
        return 0

    def close(self) -> None:
        """Leave it open."""


def _binary(stream: TextIO | None) -> BinaryIO:
    if stream is None:
        raise OSError(errno.EBADF, "it is closed")
    return stream.buffer


def _lock(file: BinaryIO) -> None:
    """Keep a file to this process until it closes it or dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy from None
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP):  # a file system that has no such locks
            raise


def read_state(path: Path, kind: type[S]) -> S | None:
    """Return what `write_state` wrote; None where there is no such file. Changed where it is no such thing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise Changed from None


def write_state(path: Path, state: msgspec.Struct) -> None:
    """Write how far it is, in place of what was there, as a whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
