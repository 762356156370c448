"""An export into a file: piece by piece, each noted when it is kept, so that it can be gone on with."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from aka.server.link_calls import GaveUp
from aka.server.link_files import Changed, read_state
from aka.server.link_rows import Format, header, write
from aka.v1 import alias_service_pb2 as v1

PIECE: Final = 10
"""Messages, of up to 1000 links each, that are kept together."""


class State(msgspec.Struct):
    """How far an export is."""

    server: str
    """Where it comes from."""
    format: Format
    token: str = ""
    """Goes on behind the links that are kept."""
    links: int = 0
    size: int = 0
    """Bytes of the file that has them."""


class Output(Protocol):
    """Takes the bytes of an export; see `link_files.Sink`."""

    def write(self, text: bytes) -> None:
        """Write what belongs to the piece."""
        ...

    def keep(self) -> int:
        """End the piece and return the size of all."""
        ...


def resume(begun: State, state_file: Path) -> State:
    """Return where to go on with an export: at `begun` where none was broken off. Changed where it was another."""
    state = read_state(state_file, State)
    if state is None:
        return begun
    if (state.server, state.format) != (begun.server, begun.format):
        raise Changed
    return state


def export_file(
    output: Output, state: State, messages: Iterable[v1.ExportLinksResponse], note: Callable[[State], None]
) -> None:
    """Write the links of messages, and bring the state up to date.

    `note` is told each time that some more are kept; the export can be gone on with from there. Raises OSError, and
    what comes of the messages.
    """
    if not state.size:
        output.write(header(state.format).encode())
    waiting = 0

    def keep() -> None:
        nonlocal waiting
        state.size, waiting = output.keep(), 0
        note(state)

    try:
        for message in messages:
            output.write(write(state.format, message.links).encode())
            state.token = message.resume_token
            state.links += len(message.links)
            waiting += 1
            if waiting == PIECE:
                keep()
    except GaveUp:
        if waiting:
            keep()
        raise
    keep()
