"""ImportLinks: one link, whatever of it is there already."""

from typing import NamedTuple

from aka.server.domain.changes import Change, Created, Identified, Linked
from aka.server.domain.graph import Graph, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId, uuid_text
from aka.server.domain.joining import Joining
from aka.server.domain.rules import Answer, Rules, answer, self_alias
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class ImportLink(NamedTuple):
    """Have `user` be an id of an identified profile, and `alias`, where there is one, an identifier of it.

    The *owner* is the profile of `user`, else that of `profile_id`. A user that is not on it joins it: as its primary
    id where it is anonymous, as an alias where it is identified and the policy is ALWAYS. What is then done with the
    alias; the first row that fits answers:

    | case | answer |
    |---|---|
    | all but `profile_id` is as it should be | ALREADY_LINKED |
    | `user` and `profile_id` are two profiles' | NOT_ON_PROFILE |
    | no alias | what was done with the user: CREATED, IDENTIFIED, LINKED, ALREADY_LINKED |
    | no owner, alias free | CREATED, with the given profile id |
    | no owner, alias taken, a user | IDENTIFIED, or LINKED: the user joins the alias's profile, as by `Alias` |
    | no owner, alias taken, a profile id alone | ALIAS_TAKEN |
    | no owner, alias taken, neither | ALREADY_LINKED |
    | alias free | LINKED, or IDENTIFIED where the user made it so |
    | alias on the owner | ALREADY_LINKED, or IDENTIFIED |
    | alias elsewhere | MERGED, or refused by the policy, as by `Alias`; a user counts as identified |

    SELF_ALIAS before all; RESERVED_IDENTIFIER, LABEL_TAKEN and TOO_MANY_IDENTIFIERS before anything is written.
    """

    profile_id: ProfileId | None
    user: Identifier | None
    alias: Identifier | None
    anonymous: bool
    """The alias came as an `anonymous_id`."""
    joining: Joining
    rules: Rules

    @property
    def keys(self) -> tuple[Key, ...]:
        """All that is given."""
        return tuple(key for key in (self.profile_id, self.user, self.alias) if key is not None)

    @property
    def labels_of(self) -> Identifier | None:
        """The user, where a user alias is to join its profile."""
        return None if self.alias is None or self.alias.is_id else self.user

    def decide(self, graph: Graph) -> tuple[Answer, tuple[Change, ...]]:
        """Return the answer and the changes; AkaError by the table."""
        if self.user is not None and self.user == self.alias:
            raise self_alias(self.joining.field)
        known = None if self.user is None else graph.find(self.user)
        if known is not None and known.identified and (self.alias is None or graph.find(self.alias) == known):
            return answer(v1.OUTCOME_ALREADY_LINKED, known), ()
        named = None if self.profile_id is None else graph.find(self.profile_id)
        owner = known or named
        if owner is None:
            return self._without_owner(graph)
        if named is not None and named.id != owner.id:
            raise AkaError(
                v1.ERROR_REASON_NOT_ON_PROFILE,
                "The user_id is on another profile than profile_id",
                user_profile_id=uuid_text(owner.id),
                profile_id=uuid_text(named.id),
            )
        joined: tuple[Change, ...] = ()
        if self.user is not None:
            owner, joined = self._with_user(graph, self.user, owner, is_on_it=known is not None)
        return self._with_alias(graph, owner, joined)

    def _without_owner(self, graph: Graph) -> tuple[Answer, tuple[Change, ...]]:
        other = None if self.alias is None else graph.find(self.alias)
        if other is not None and self.alias is not None:
            if self.user is not None:
                self.joining.refuse(self.alias, None, other, both_identified=other.identified)
                owner, joined = self._join(graph, self.user, other)
                return _answer(owner, joined), joined
            if self.profile_id is None:
                return answer(v1.OUTCOME_ALREADY_LINKED, other), ()
            raise self.joining.taken(
                self.alias, "and none has the profile_id, which could be joined to it", None, other
            )
        for identifier, field in ((self.user, "user_id"), (self.alias, self.joining.field)):
            if identifier is not None:
                self.rules.refuse_reserved(identifier, field)
        profile = self.profile_id or graph.new_profile_id()
        if self.user is None:
            assert self.alias is not None, "a link has a user or an alias"
            return Answer(v1.OUTCOME_CREATED, profile, ""), (Created(profile, self.alias, False, self.anonymous),)
        changes: tuple[Change, ...] = (Created(profile, self.user, True, False),)
        if self.alias is not None:
            changes = (*changes, Linked(profile, self.alias, self.anonymous))
        return Answer(v1.OUTCOME_CREATED, profile, self.user.name), changes

    def _with_user(
        self, graph: Graph, user: Identifier, owner: Profile, *, is_on_it: bool
    ) -> tuple[Profile, tuple[Change, ...]]:
        """Return the owner as it is with the user on it and identified, and the changes that make it so."""
        if not is_on_it:
            if owner.identified and self.joining.policy != v1.MERGE_POLICY_ALWAYS:
                raise AkaError(
                    v1.ERROR_REASON_IDENTIFIED_PROFILE,
                    "The profile of profile_id is identified by another id; merge_policy ALWAYS would add the user_id",
                    profile_id=uuid_text(owner.id),
                )
            return self._join(graph, user, owner)
        if owner.identified:
            return owner, ()
        link = graph.link_of(user)
        assert link is not None, "it is on the owner"
        return owner._replace(primary=user.name), (Identified(owner.id, user, link.anonymous),)

    def _join(self, graph: Graph, user: Identifier, owner: Profile) -> tuple[Profile, tuple[Change, ...]]:
        """Return the owner with a user that is nobody's, as its primary id where it has none."""
        self.rules.refuse_reserved(user, "user_id")
        linked = self.rules.link(graph, owner, user)
        owner = owner._replace(identifiers=owner.identifiers + 1)
        if owner.identified:
            return owner, (linked,)
        return owner._replace(primary=user.name), (linked, Identified(owner.id, user, False))

    def _with_alias(
        self, graph: Graph, owner: Profile, joined: tuple[Change, ...]
    ) -> tuple[Answer, tuple[Change, ...]]:
        """Decide where there is an owner, which is so by the changes `joined`."""
        other = owner if self.alias is None else graph.find(self.alias)
        if other is not None and other.id == owner.id:
            return _answer(owner, joined), joined
        assert self.alias is not None
        if other is None:
            self.rules.refuse_reserved(self.alias, self.joining.field)
            linked = self.rules.link(graph, owner, self.alias, anonymous=self.anonymous)
            return _answer(owner, (*joined, linked)), (*joined, linked)
        merged = self.joining.merge(graph, self.rules, self.alias, owner, other)
        survivor = owner if merged.survivor == owner.id else other
        done = answer(v1.OUTCOME_MERGED, survivor)._replace(merged=merged.loser)
        return done, (*joined, merged)


def _answer(owner: Profile, changes: tuple[Change, ...]) -> Answer:
    """Answer with what the changes did to the owner, which `owner` shows already."""
    if any(isinstance(change, Identified) for change in changes):
        return answer(v1.OUTCOME_IDENTIFIED, owner)
    return answer(v1.OUTCOME_LINKED if changes else v1.OUTCOME_ALREADY_LINKED, owner)
