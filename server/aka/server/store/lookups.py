"""What a store is asked to read."""

from collections.abc import Collection
from typing import NamedTuple

from aka.server.domain.identifiers import Identifier, Key
from aka.server.domain.profile_data import Kind
from aka.server.store.store import ActivityPlace, Workspace


class Lookup(NamedTuple):
    """Whose some keys are."""

    workspace: Workspace
    keys: Collection[Key]


class Page(NamedTuple):
    """A profile and a page of its identifiers."""

    workspace: Workspace
    key: Key
    after: Identifier | None
    limit: int


class Links(NamedTuple):
    """A page of a workspace's links."""

    workspace: Workspace
    after: Identifier | None
    limit: int


class Data(NamedTuple):
    """A profile, some of its identifiers, its data, and a page of its activities."""

    workspace: Workspace
    key: Key
    identifiers: int
    """How many, at most."""
    kinds: Collection[Kind]
    after: ActivityPlace | None
    limit: int
