"""A step that cannot be taken, in its place among those that can."""

from dataclasses import dataclass
from typing import NoReturn

from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Key
from aka.server.errors import AkaError


@dataclass(frozen=True, slots=True)
class Refused:
    """A malformed item of a batch: it is refused when its turn comes, and the items beside it go on."""

    error: AkaError

    @property
    def keys(self) -> tuple[Key, ...]:
        """None."""
        return ()

    @property
    def labels_of(self) -> None:
        """None."""

    def decide(self, graph: Graph) -> NoReturn:
        """Raise the error."""
        raise self.error
