"""An import of a file: chunk by chunk, each noted when it is done, so that it can be gone on with."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from aka.server.errors import PREFIX
from aka.server.link_calls import OUTCOMES, Account, GaveUp, Import
from aka.server.link_files import LONGEST_LINE, Changed, Line, Sink, Source, read_state
from aka.server.link_rows import BadHeader, BadRow, Format, Read, reader
from aka.v1 import alias_service_pb2 as v1

CHUNK_LINES: Final = 5_000
"""Lines that are imported in one call, at most."""
CHUNK_BYTES: Final = 8 << 20
"""About what these have at most."""


class Row(NamedTuple):
    """A line, and the link that it is or why it is none."""

    line: Line
    link: v1.Link | BadRow


class Chunk(NamedTuple):
    """Some lines, and how far the file is read with them."""

    rows: list[Row]
    lines: int
    offset: int
    digest: str


class State(msgspec.Struct):
    """How far an import is."""

    server: str
    """Where it goes."""
    format: Format
    header: str | None = None
    """A CSV file's first line."""
    offset: int = 0
    """Bytes of lines that are done."""
    lines: int = 0
    """Lines that are done, the header too."""
    digest: str = ""
    """SHA-256 of them."""
    ahead: int = 0
    """Rows behind these that are done too, where a chunk was broken off."""
    rows: int = 0
    """Of these, those that are links or should be."""
    outcomes: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    rejected: int = 0
    rejects_size: int = 0
    """Bytes of the rejects file."""


class Reject(msgspec.Struct):
    """A line that was not imported, as the rejects file has it."""

    line: int
    reason: str
    message: str
    row: str
    """The line as it stands in the file."""


class Rejects:
    """The rejects file: NDJSON, and not there while nothing was rejected."""

    def __init__(self, path: Path, size: int) -> None:
        """Go on behind `size` bytes that were kept before; Changed, or OSError, where that cannot be."""
        self._path = path
        self._file: Sink | None = None
        if size:
            self._file = Sink(path, size)
        else:
            path.unlink(missing_ok=True)

    def write(self, reject: Reject) -> None:
        """Add a line."""
        if self._file is None:
            self._file = Sink(self._path, 0)
        self._file.write(msgspec.json.encode(reject) + b"\n")

    def keep(self) -> int:
        """See to it that what was written is on the disk; return its size."""
        return 0 if self._file is None else self._file.keep()

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()


def resume(source: Source, begun: State, state_file: Path) -> State:
    """Return where to go on with an import, to which the source is moved: at `begun` where none was broken off.

    Changed where it was another file, or was imported into another server.
    """
    state = read_state(state_file, State)
    if state is None:
        return begun
    if (state.server, state.format) != (begun.server, begun.format):
        raise Changed
    source.skip(state.offset, state.lines, state.digest)
    return state


def import_file(
    source: Source,
    state: State,
    rejects: Rejects,
    begin: Callable[[list[v1.Link]], Import],
    note: Callable[[State], None],
) -> None:
    """Import the lines of a file behind those that are done, and bring the state up to date.

    `note` is told each time that some more are done; the import can be gone on with from there. Lines that are no
    links, or are refused, go into the rejects file. Raises BadHeader, GaveUp, OSError.
    """
    lines = source.lines()
    if state.format == "csv" and state.header is None:
        state.header = _header(next(lines, None))
    state.lines, state.offset, state.digest = source.number, source.offset, source.digest
    chunks = _chunks(source, lines, reader(state.format, state.header), state.ahead)
    chunk = next(chunks, None)
    while chunk is not None:
        call = begin([row.link for row in chunk.rows if isinstance(row.link, v1.Link)])
        following = next(chunks, None)  # is read while the server works
        try:
            call.finish()
        except GaveUp:  # or a limit that lets less than a chunk pass would be used up by the same links again and again
            if done := _first(chunk.rows, call.account.links):
                state.ahead += len(done)
                _add(state, done, call.account, rejects)
                note(state)
            raise
        state.lines, state.offset, state.digest, state.ahead = chunk.lines, chunk.offset, chunk.digest, 0
        _add(state, chunk.rows, call.account, rejects)
        note(state)
        chunk = following


def _first(rows: Sequence[Row], links: int) -> Sequence[Row]:
    """Return the rows before the first that is a link and not one of so many."""
    for place, row in enumerate(rows):
        if isinstance(row.link, v1.Link):
            if not links:
                return rows[:place]
            links -= 1
    return rows


def _add(state: State, rows: Sequence[Row], account: Account, rejects: Rejects) -> None:
    """Add to the state what became of rows."""
    for reject in _rejects(rows, account):
        rejects.write(reject)
        state.rejected += 1
    for outcome, number in account.outcomes.items():
        state.outcomes[outcome] += number
    state.rows += len(rows)
    state.rejects_size = rejects.keep()


def _header(line: Line | None) -> str | None:
    try:
        return None if line is None else _text(line)
    except BadRow as error:
        raise BadHeader(f"begins with a line that {error}") from None


def _chunks(source: Source, lines: Iterator[Line], read: Read, ahead: int) -> Iterator[Chunk]:
    """Return the lines in chunks, without the rows that are done already."""
    rows: list[Row] = []
    size = 0
    for line in islice((line for line in lines if line.text), ahead, None):
        rows.append(Row(line, _link(line, read)))
        size += len(line.text)
        if len(rows) == CHUNK_LINES or size > CHUNK_BYTES:
            yield Chunk(rows, source.number, source.offset, source.digest)
            rows, size = [], 0
    if rows:
        yield Chunk(rows, source.number, source.offset, source.digest)


def _link(line: Line, read: Read) -> v1.Link | BadRow:
    try:
        return read(_text(line))
    except BadRow as error:
        return error


def _text(line: Line) -> str:
    if line.is_too_long:
        raise BadRow(f"is longer than {LONGEST_LINE} bytes")
    try:
        return line.text.decode()
    except UnicodeDecodeError as error:
        raise BadRow(f"is not UTF-8 at byte {error.start}") from None


def _rejects(rows: Sequence[Row], account: Account) -> Iterator[Reject]:
    """Return the lines that were not imported, in order."""
    refused = dict(account.refused)
    place = 0
    for line, link in rows:
        if isinstance(link, BadRow):
            yield Reject(line.number, "INVALID_VALUE", f"The line {link}", _shown(line))
            continue
        if error := refused.get(place):
            reason = v1.ErrorReason.Name(error.reason).removeprefix(PREFIX)
            yield Reject(line.number, reason, error.error.message, _shown(line))
        place += 1


def _shown(line: Line) -> str:
    return line.text.decode(errors="backslashreplace")
