"""What a command works through, from arguments or stdin; what it shows of each; and the exit code that tells of it."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import click
import grpc

from aka.client import AkaError
from aka.server.command_options import end
from aka.server.tables import print_table

Row = Mapping[str, Any]

WRONG_USE: Final = 2
NOBODYS: Final = 3

EXIT_CODES: Final[Mapping[int, tuple[str, Sequence[grpc.StatusCode]]]] = {
    1: ("any other failure", ()),
    WRONG_USE: ("what was given cannot be", (grpc.StatusCode.INVALID_ARGUMENT,)),
    NOBODYS: ("an identifier is nobody's", (grpc.StatusCode.NOT_FOUND,)),
    4: (
        "refused: the identifier is taken, or the profiles do not allow it",
        (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION),
    ),
    5: ("the API key is not good enough", (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)),
    6: ("the server is too busy for it now", (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED)),
    7: ("no answer: perhaps it was done", (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)),
}
"""What each exit code means, and the gRPC statuses that it stands for."""

_CODE_OF: Final = {status: code for code, (_, statuses) in EXIT_CODES.items() for status in statuses}

ABOUT_THE_ITEM: Final = (WRONG_USE, NOBODYS, 4)
"""After these the next item may go well."""

EPILOG: Final = "\b\nExit codes: 0 done; of several failures the first's:\n" + "\n".join(
    f"  {code} {told}" for code, (told, _) in EXIT_CODES.items()
)


class Rows:
    """What came of the items so far: JSON is printed as it comes, a table at the end, whatever ends it."""

    def __init__(self, names: Sequence[str], as_json: bool) -> None:
        self._names = names
        self._as_json = as_json
        self._rows: list[Row] = []
        self.code = 0
        """The first failure's."""

    def add(self, row: Row) -> None:
        """Take what came of an item."""
        if self._as_json:
            click.echo(json.dumps(row))
        else:
            self._rows.append(row)

    def fail(self, words: Sequence[str], error: AkaError) -> int:
        """Take an item that failed, and return its exit code."""
        code = _CODE_OF.get(error.code, 1)
        self.code = self.code or code
        if self._as_json:
            click.echo(json.dumps({**dict(zip(self._names, words, strict=False)), "error": _error(error)}))
        else:
            told = "".join(f", {name} {value}" for name, value in _profiles(error).items())
            item = "".join(f"{name} {word!r}, " for name, word in zip(self._names, words, strict=False))
            click.echo(f"aka: {error}{told} ({item}request id {error.request_id})", err=True)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._rows:
            heads = [name.replace("_", " ").upper() for name in self._rows[0]]
            print_table(heads, [[cell(value) for value in row.values()] for row in self._rows])


def run_each(names: Sequence[str], items: Iterable[Sequence[str]], call: Callable[..., Row], as_json: bool) -> int:
    """Make a call for each item until one fails for a reason that is not its own, and return the exit code."""
    with Rows(names, as_json) as rows:
        for words in items:
            try:
                rows.add(call(*words))
            except AkaError as error:
                if rows.fail(words, error) not in ABOUT_THE_ITEM:
                    break
    return rows.code


def read_items(given: Sequence[str], width: int, *, each: bool = False) -> Iterator[Sequence[str]]:
    """Yield the items that the arguments are, or the lines of stdin; ends with 2 where they are none.

    An item has so many words; with `each` every argument is one.
    """
    if given:
        if not each and len(given) != width:
            raise click.UsageError(f"{width} argument{'s' * (width > 1)} or none, not {len(given)}")
        for first in range(0, len(given), width):
            yield given[first : first + width]
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("no arguments, and nothing to read on stdin")
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            # Windows has files begin with a mark that is none of the first id.
            words = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
        except UnicodeDecodeError:
            end(WRONG_USE, f"stdin, line {number}: it is not UTF-8")
        if words == [""]:
            continue
        if len(words) != width:
            end(WRONG_USE, f"stdin, line {number}: {width} with tabs between are expected, not {len(words)}")
        yield words


def _error(error: AkaError) -> Row:
    return {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "metadata": dict(error.metadata),
        "request_id": error.request_id,
    }


def _profiles(error: AkaError) -> Mapping[str, str]:
    both = {"user_profile_id": error.user_profile_id, "alias_profile_id": error.alias_profile_id}
    return {name: value for name, value in both.items() if value is not None}


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple) else "-" if value is None else str(value)
