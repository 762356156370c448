"""DeleteAlias: take one identifier off its profile."""

from typing import NamedTuple

from aka.server.domain.changes import Change, Unlinked
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, Key, ProfileId, uuid_text
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class DeleteAlias(NamedTuple):
    """Unlink `alias`; the answer is the id of the profile that it was on.

    ALIAS_NOT_FOUND (or None with `allow_missing`), NOT_ON_PROFILE, PRIMARY_IDENTIFIER, LAST_IDENTIFIER; the
    first that fits.
    """

    alias: Identifier
    profile_id: ProfileId | None
    """Where it is given, the alias must resolve to the same profile as this."""
    allow_missing: bool

    @property
    def keys(self) -> tuple[Key, ...]:
        """The alias and the profile id."""
        return (self.alias,) if self.profile_id is None else (self.alias, self.profile_id)

    @property
    def labels_of(self) -> None:
        """None: unlinking frees a label, whatever the others are."""

    def decide(self, graph: Graph) -> tuple[ProfileId | None, tuple[Change, ...]]:
        """Return the profile's id and the change; AkaError by the list."""
        profile, link = graph.find(self.alias), graph.link_of(self.alias)
        if profile is None or link is None:
            if self.allow_missing:
                return None, ()
            raise AkaError(
                v1.ERROR_REASON_ALIAS_NOT_FOUND,
                "The identifier is nobody's; set allow_missing where that is as good",
            )
        if self.profile_id is not None:
            expected = graph.find(self.profile_id)
            if expected is None or expected.id != profile.id:
                raise AkaError(
                    v1.ERROR_REASON_NOT_ON_PROFILE,
                    "The identifier is on another profile than the given profile_id",
                    profile_id=uuid_text(self.profile_id),
                    alias_profile_id=uuid_text(profile.id),
                )
        named = {"profile_id": uuid_text(profile.id)}
        if self.alias.is_id and self.alias.name == profile.primary:
            raise AkaError(
                v1.ERROR_REASON_PRIMARY_IDENTIFIER,
                "The identifier is its profile's primary id, which stays",
                **named,
            )
        if profile.identifiers == 1:
            raise AkaError(
                v1.ERROR_REASON_LAST_IDENTIFIER,
                "The identifier is its profile's only one; nobody could find the profile without it",
                **named,
            )
        unlinked = Unlinked(profile.id, self.alias, link.origin, link.anonymous, link.linked_at)
        return profile.id, (unlinked,)
