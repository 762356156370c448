"""Which profiles a merge policy joins, and what a refusal names."""

from typing import NamedTuple

from aka.server.domain.changes import Merged
from aka.server.domain.graph import Graph, Profile
from aka.server.domain.identifiers import Identifier, uuid_text
from aka.server.domain.rules import Rules
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class Joining(NamedTuple):
    """What a caller lets be joined where an alias is on another profile than the user."""

    policy: v1.MergePolicy.ValueType
    may_merge: bool
    """Whether the caller may join two identified profiles."""
    field: str = "alias_id"
    """What the caller calls the alias, where it is an id."""

    def merge(self, graph: Graph, rules: Rules, alias: Identifier, user: Profile, other: Profile) -> Merged:
        """Join two profiles: the identified one survives, else the user's.

        ALIAS_TAKEN, IDENTIFIED_PROFILE, PERMISSION_MISSING, or what `Rules.merge` refuses.
        """
        both_identified = user.identified and other.identified
        self.refuse(alias, user, other, both_identified=both_identified)
        named = named_profiles(user, other)
        if both_identified and not self.may_merge:
            raise AkaError(
                v1.ERROR_REASON_PERMISSION_MISSING,
                "The key lacks the permission profiles.merge, which joining two identified profiles needs",
                permission="profiles.merge",
                **named,
            )
        survivor, loser = (other, user) if other.identified and not user.identified else (user, other)
        return rules.merge(graph, loser, survivor, orphaned=False, **named)

    def refuse(self, alias: Identifier, user: Profile | None, other: Profile, *, both_identified: bool) -> None:
        """Raise ALIAS_TAKEN or IDENTIFIED_PROFILE where the policy does not join the user and the alias's profile."""
        if self.policy == v1.MERGE_POLICY_NEVER:
            raise self.taken(alias, "and merge_policy NEVER joins none", user, other)
        if both_identified and self.policy != v1.MERGE_POLICY_ALWAYS:
            what, metadata = self._told(alias)
            raise AkaError(
                v1.ERROR_REASON_IDENTIFIED_PROFILE,
                f"{what} is on another identified profile; merge_policy ALWAYS would join the two",
                **metadata,
                **named_profiles(user, other),
            )

    def taken(self, alias: Identifier, why: str, user: Profile | None, other: Profile) -> AkaError:
        """Return an ALIAS_TAKEN; `why` ends the sentence."""
        what, metadata = self._told(alias)
        named = named_profiles(user, other)
        return AkaError(v1.ERROR_REASON_ALIAS_TAKEN, f"{what} is on another profile, {why}", **metadata, **named)

    def _told(self, alias: Identifier) -> tuple[str, dict[str, str]]:
        if alias.is_id:
            return f"The {self.field} {alias.name!r}", {self.field: alias.name}
        return "The user alias", {"alias_label": alias.label, "alias_name": alias.name}


def named_profiles(user: Profile | None, other: Profile | None) -> dict[str, str]:
    """Return the profiles, those that there are, as the metadata of a refusal names them."""
    named = {}
    if user is not None:
        named["user_profile_id"] = uuid_text(user.id)
    if other is not None:
        named["alias_profile_id"] = uuid_text(other.id)
    return named
