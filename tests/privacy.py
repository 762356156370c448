"""What the tests send to their servers, and what those log: nothing of the one may be in the other."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message

LONG: Final = 6
"""Characters from which on a value is sought within a line too; a shorter one would be found in many a word."""
LONGEST: Final = 1000

_MAY_BE_LOGGED: Final = (
    *("timestamp", "seconds", "pid", "request_id", "trace_id", "api_key", "key", "by"),
    *("grpc", "rest", "metrics"),
)
"""Times, and the ids of calls and of API keys, by which a line is found again; and a server's own addresses, of which
one that is not served is written as a dash. They differ from line to line."""


class Suite:
    """The values that were sent, and the distinct lines that were logged. It is the stream that servers log to."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.lines: set[str] = set()
        self.words: set[str] = set()

    def send(self, *values: Any) -> None:
        """Note what is sent: keys, bodies as JSON, messages or bytes."""
        for value in values:
            self.sent.update(text for text in _texts(value) if text and len(text) <= LONGEST)

    def write(self, text: str) -> None:
        """Note what was logged."""
        for line in text.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                said = {}
            for name in _MAY_BE_LOGGED:
                said.pop(name, None)
            self.words.update(_texts(said))
            self.lines.add(json.dumps(said, sort_keys=True) if said else line)

    def flush(self) -> None:
        """Do what a stream does."""

    def leaks(self) -> dict[str, str]:
        """Return the values that were sent and logged, each with a line that it is in."""
        log = "\n".join(self.lines)
        found = self.sent & self.words | {value for value in self.sent if len(value) >= LONG and _stands_in(value, log)}
        return {value: next(line for line in self.lines if value in line) for value in sorted(found)}


SUITE: Final = Suite()


def _stands_in(value: str, log: str) -> bool:
    """Whether a value is in a log, and not as a part of a word, such as the name of a function or a test's folder."""
    return value in log and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", log) is not None


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case bytes():
            try:
                yield from _texts(json.loads(value))
            except (ValueError, RecursionError):
                yield value.decode(errors="replace")
        case Message():
            yield from _texts([inner for _, inner in value.ListFields()])
        case Mapping():
            yield from _texts(value.values())
        case Iterable():
            for inner in value:
                yield from _texts(inner)
