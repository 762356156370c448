"""CreateAliases: give a profile a user alias or an anonymous id, or make an anonymous profile of it."""

from typing import NamedTuple

from aka.server.domain.changes import Change, Created
from aka.server.domain.graph import Graph
from aka.server.domain.identifiers import Identifier, Key, uuid_text
from aka.server.domain.rules import Answer, Rules, answer, self_alias
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class CreateAlias(NamedTuple):
    """Link `alias`, a user alias or an anonymous id, to the profile of `external`, or to a new anonymous one.

    Without an external id: ALREADY_LINKED wherever the alias is, else CREATED. With one: SELF_ALIAS,
    USER_NOT_FOUND, ALREADY_LINKED, ALIAS_TAKEN where another profile has the alias, RESERVED_IDENTIFIER,
    LABEL_TAKEN, TOO_MANY_IDENTIFIERS, LINKED; the first that fits.
    """

    external: Identifier | None
    alias: Identifier
    rules: Rules

    @property
    def keys(self) -> tuple[Key, ...]:
        """The alias and the external id."""
        return (self.alias,) if self.external is None else (self.alias, self.external)

    @property
    def labels_of(self) -> Identifier | None:
        """The external id, where a user alias is to join its profile."""
        return None if self.alias.is_id else self.external

    def decide(self, graph: Graph) -> tuple[Answer, tuple[Change, ...]]:
        """Return the answer and the changes; AkaError by the list."""
        if self.external == self.alias:
            raise self_alias("anonymous_id")
        taken_by = graph.find(self.alias)
        if self.external is None:
            if taken_by is not None:
                return answer(v1.OUTCOME_ALREADY_LINKED, taken_by), ()
            self.rules.refuse_reserved(self.alias, "anonymous_id")
            profile = graph.new_profile_id()
            created = Created(profile, self.alias, False, self.alias.is_id)
            return Answer(v1.OUTCOME_CREATED, profile, ""), (created,)
        user = graph.find(self.external)
        if user is None:
            raise AkaError(
                v1.ERROR_REASON_USER_NOT_FOUND,
                f"No profile has the external_id {self.external.name!r}; identify the user first, or leave it out"
                " to make an anonymous profile",
                external_id=self.external.name,
            )
        if taken_by is not None:
            if taken_by.id == user.id:
                return answer(v1.OUTCOME_ALREADY_LINKED, user), ()
            raise AkaError(
                v1.ERROR_REASON_ALIAS_TAKEN,
                "The alias is on another profile, and CreateAliases joins none",
                user_profile_id=uuid_text(user.id),
                alias_profile_id=uuid_text(taken_by.id),
            )
        self.rules.refuse_reserved(self.alias, "anonymous_id")
        linked = self.rules.link(graph, user, self.alias, anonymous=self.alias.is_id)
        return answer(v1.OUTCOME_LINKED, user), (linked,)
