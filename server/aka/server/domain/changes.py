"""What a decision wants changed. The journal keeps these, and the graph is their sum.

Each bears all that is needed to make it and to take it back. Named tuples, for the reason that `Identifier` gives.
"""

from typing import NamedTuple

from aka.server.domain.identifiers import Identifier, ProfileId


class Created(NamedTuple):
    """A profile was made, with its first identifier: its primary id, or what makes it anonymous."""

    profile: ProfileId
    identifier: Identifier
    primary: bool
    anonymous: bool
    """The identifier came as an `anonymous_id`."""


class Linked(NamedTuple):
    """A free identifier was linked to a living profile, which is its origin from then on."""

    profile: ProfileId
    identifier: Identifier
    anonymous: bool


class Unlinked(NamedTuple):
    """An identifier was taken off a living profile."""

    profile: ProfileId
    identifier: Identifier
    origin: ProfileId
    """The profile that it had been linked to: this one, or one of its tombstones."""
    anonymous: bool
    linked_at: int


class Identified(NamedTuple):
    """One of an anonymous profile's ids became its primary id, and ceased to be an anonymous id if it was one."""

    profile: ProfileId
    identifier: Identifier
    anonymous: bool
    """It was one."""


class Merged(NamedTuple):
    """A living profile became a tombstone of another. Constant in size, whatever the two hold."""

    loser: ProfileId
    survivor: ProfileId
    loser_primary: str | None
    loser_created_at: int
    survivor_created_at: int
    """Before the merge; a merge that keeps all data leaves the earlier of the two on the survivor."""
    orphaned: bool
    """The loser's attributes, events and purchases stay on the tombstone (MERGE_BEHAVIOR_NONE)."""


Change = Created | Linked | Unlinked | Identified | Merged
