"""Identify: make an anonymous profile known by an external id, with or without attributes for it."""

from collections.abc import Iterable
from typing import NamedTuple

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged
from aka.server.domain.graph import Graph, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId, uuid_text
from aka.server.domain.profile_data import Holdings, Tracked, join
from aka.server.domain.rules import Answer, Rules, answer, self_alias
from aka.server.domain.track import TrackAttributes
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class Identify(NamedTuple):
    """Make the profile of `subject`, a user alias or an anonymous id or nothing, known by `external`.

    | external is | no subject | alias unknown | anonymous id unknown | on its own | on an anonymous other |
    |---|---|---|---|---|---|
    | unknown | CREATED | ALIAS_NOT_FOUND | CREATED, both | - | IDENTIFIED |
    | on an identified profile | ALREADY_LINKED | ALIAS_NOT_FOUND | LINKED | ALREADY_LINKED | MERGED |
    | on an anonymous profile | IDENTIFIED | ALIAS_NOT_FOUND | IDENTIFIED, linked | IDENTIFIED | MERGED |

    A subject on another identified profile is ALREADY_IDENTIFIED. The external id's profile survives a merge, and
    the external id becomes its primary id where it has none.
    """

    external: Identifier
    subject: Identifier | None
    orphan: bool
    """Leave a user alias's attributes, events and purchases on the tombstone. An anonymous id's always follow."""
    rules: Rules

    @property
    def keys(self) -> tuple[Key, ...]:
        """The external id and the subject."""
        return (self.external,) if self.subject is None else (self.external, self.subject)

    @property
    def labels_of(self) -> None:
        """None: only a merge of two profiles that both have user aliases asks for labels."""

    def decide(self, graph: Graph) -> tuple[Answer, tuple[Change, ...]]:
        """Return the answer and the changes; AkaError by the table."""
        if self.external == self.subject:
            raise self_alias("anonymous_id")
        own = graph.find(self.external)
        other = None if self.subject is None else graph.find(self.subject)
        if other is None:
            if self.subject is not None and not self.subject.is_id:
                raise AkaError(
                    v1.ERROR_REASON_ALIAS_NOT_FOUND,
                    "No profile has this user alias; create it first",
                    alias_label=self.subject.label,
                    alias_name=self.subject.name,
                )
            return self._alone(graph, own)
        if own is not None and own.id == other.id:
            return self._known_by_external(graph, own, ())
        if other.identified:
            named = {} if own is None else {"profile_id": uuid_text(own.id)}
            raise AkaError(
                v1.ERROR_REASON_ALREADY_IDENTIFIED,
                "The subject is on another identified profile, which Identify never joins to a second",
                **named,
                subject_profile_id=uuid_text(other.id),
            )
        if own is None:
            self.rules.refuse_reserved(self.external, "external_id")
            linked = self.rules.link(graph, other, self.external)
            return self._becomes_primary(other, (linked,), was_anonymous=False)
        merged = self.rules.merge(
            graph,
            other,
            own,
            orphaned=self.orphan and self.subject is not None and not self.subject.is_id,
            profile_id=uuid_text(own.id),
            subject_profile_id=uuid_text(other.id),
        )
        known, changes = self._known_by_external(graph, own, (merged,))
        return known._replace(outcome=v1.OUTCOME_MERGED, merged=other.id), changes

    def _alone(self, graph: Graph, own: Profile | None) -> tuple[Answer, tuple[Change, ...]]:
        """Decide where there is no subject, or one that is an anonymous id nobody has yet."""
        if own is None:
            self.rules.refuse_reserved(self.external, "external_id")
        if self.subject is not None:
            self.rules.refuse_reserved(self.subject, "anonymous_id")
        if own is None:
            profile = graph.new_profile_id()
            changes: tuple[Change, ...] = (Created(profile, self.external, True, False),)
            if self.subject is not None:
                changes = (*changes, Linked(profile, self.subject, True))
            return Answer(v1.OUTCOME_CREATED, profile, self.external.name), changes
        if self.subject is None:
            return self._known_by_external(graph, own, ())
        linked = self.rules.link(graph, own, self.subject, anonymous=True)
        return self._known_by_external(graph, own, (linked,))

    def _known_by_external(
        self, graph: Graph, own: Profile, changes: tuple[Change, ...]
    ) -> tuple[Answer, tuple[Change, ...]]:
        """Answer for the external id's own profile, which it becomes the primary id of where there is none."""
        if own.identified:
            return answer(v1.OUTCOME_LINKED if changes else v1.OUTCOME_ALREADY_LINKED, own), changes
        link = graph.link_of(self.external)
        return self._becomes_primary(own, changes, was_anonymous=link is not None and link.anonymous)

    def _becomes_primary(
        self, profile: Profile, changes: tuple[Change, ...], *, was_anonymous: bool
    ) -> tuple[Answer, tuple[Change, ...]]:
        identified = Identified(profile.id, self.external, was_anonymous)
        return Answer(v1.OUTCOME_IDENTIFIED, profile.id, self.external.name), (*changes, identified)


class IdentifyWithAttributes(NamedTuple):
    """An Identify, and attributes for the profile that it makes known. What refuses either refuses both."""

    identify: Identify
    track: TrackAttributes
    """Of the same external id."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The external id and the subject."""
        return self.identify.keys

    @property
    def labels_of(self) -> None:
        """None, as of an Identify."""

    def decide(self, graph: Graph) -> tuple[Answer, tuple[Change | Tracked, ...]]:
        """Return the answer and the changes; AkaError by Identify's table, or TOO_MUCH_DATA."""
        known, changes = self.identify.decide(graph)
        profile = known.profile_id
        assert profile is not None, "an Identify always knows the profile"
        return known, (*changes, self.track.put(profile, _holdings_after(graph, profile, changes), graph.now))


def _holdings_after(graph: Graph, profile: ProfileId, changes: Iterable[Change]) -> Holdings:
    """Return what a profile will hold when these changes of an Identify are folded in."""
    if any(isinstance(change, Created) for change in changes):
        return Holdings()
    holds = graph.holdings(profile)
    for change in changes:
        if isinstance(change, Merged) and not change.orphaned:
            attributes = join([holds.attributes, graph.holdings(change.loser).attributes])
            holds = Holdings(attributes, holds.push_tokens, holds.activities)
    return holds
