"""Alias: link one id to a user's profile, joining two profiles where the policy allows it."""

from typing import NamedTuple

from aka.server.domain.changes import Change, Created, Identified, Linked
from aka.server.domain.graph import Graph, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId, uuid_text
from aka.server.domain.joining import Joining, named_profiles
from aka.server.domain.rules import Answer, Rules, answer, self_alias
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class Alias(NamedTuple):
    """Link `alias` to the profile of `user`. The first row that fits answers:

    | case | answer |
    |---|---|
    | the alias is the given user id | SELF_ALIAS |
    | the user is a profile id that is unknown | PROFILE_NOT_FOUND |
    | the user is an id that is unknown, and is not to be made | USER_NOT_FOUND |
    | both are one profile | ALREADY_LINKED |
    | an unknown user or a free alias is reserved | RESERVED_IDENTIFIER |
    | alias free, user known | LINKED |
    | alias free, user unknown | CREATED: an identified profile |
    | alias on another profile, NEVER | ALIAS_TAKEN |
    | both identified (as an unknown user is), ANONYMOUS | IDENTIFIED_PROFILE |
    | user unknown, the alias's profile anonymous | IDENTIFIED by the user id |
    | user unknown, the alias's profile identified | LINKED: the user id joins it |
    | both known | MERGED: the identified one survives, else the user's |

    Joining two identified profiles without `may_merge` is PERMISSION_MISSING. Before anything is written:
    LABEL_TAKEN (of a merge) and TOO_MANY_IDENTIFIERS.
    """

    user: Identifier | ProfileId
    alias: Identifier
    policy: v1.MergePolicy.ValueType
    create_missing: bool
    may_merge: bool
    """Whether the caller may join two identified profiles."""
    rules: Rules

    @property
    def keys(self) -> tuple[Key, ...]:
        """The user and the alias."""
        return self.user, self.alias

    @property
    def labels_of(self) -> None:
        """None: only a merge of two profiles that both have user aliases asks for labels."""

    def decide(self, graph: Graph) -> tuple[Answer, tuple[Change, ...]]:
        """Return the answer and the changes; AkaError by the table."""
        if self.user == self.alias:
            raise self_alias("alias_id")
        user, other = graph.find(self.user), graph.find(self.alias)
        if user is None:
            return self._with_new_user(graph, other)
        if other is None:
            named = named_profiles(user, None)
            self.rules.refuse_reserved(self.alias, "alias_id", **named)
            linked = self.rules.link(graph, user, self.alias, anonymous=False, **named)
            return answer(v1.OUTCOME_LINKED, user), (linked,)
        if user.id == other.id:
            return answer(v1.OUTCOME_ALREADY_LINKED, user), ()
        return self._merge(graph, user, other)

    def _with_new_user(self, graph: Graph, other: Profile | None) -> tuple[Answer, tuple[Change, ...]]:
        if not isinstance(self.user, Identifier):
            raise AkaError(
                v1.ERROR_REASON_PROFILE_NOT_FOUND,
                "No profile has this primary_user_id; it is a profile id that aka gave, not an id of yours",
                profile_id=uuid_text(self.user),
            )
        named = named_profiles(None, other)
        if not self.create_missing:
            raise AkaError(
                v1.ERROR_REASON_USER_NOT_FOUND,
                f"No profile has the user_id {self.user.name!r}; identify the user first, or set create_missing",
                user_id=self.user.name,
                **named,
            )
        self.rules.refuse_reserved(self.user, "user_id", **named)
        if other is None:
            self.rules.refuse_reserved(self.alias, "alias_id")
            profile = graph.new_profile_id()
            changes = Created(profile, self.user, True, False), Linked(profile, self.alias, False)
            return Answer(v1.OUTCOME_CREATED, profile, self.user.name), changes
        self._joining.refuse(self.alias, None, other, both_identified=other.identified)
        linked = self.rules.link(graph, other, self.user, anonymous=False, **named)
        if other.identified:
            return answer(v1.OUTCOME_LINKED, other), (linked,)
        identified = Identified(other.id, self.user, False)
        return Answer(v1.OUTCOME_IDENTIFIED, other.id, self.user.name), (linked, identified)

    @property
    def _joining(self) -> Joining:
        return Joining(self.policy, self.may_merge)

    def _merge(self, graph: Graph, user: Profile, other: Profile) -> tuple[Answer, tuple[Change, ...]]:
        merged = self._joining.merge(graph, self.rules, self.alias, user, other)
        survivor = user if merged.survivor == user.id else other
        return answer(v1.OUTCOME_MERGED, survivor)._replace(merged=merged.loser), (merged,)
