"""What every way of linking and merging must respect: reserved values, one name a label, the cap."""

from dataclasses import dataclass, field
from typing import NamedTuple

from aka.server.domain.changes import Linked, Merged
from aka.server.domain.graph import Graph, Profile
from aka.server.domain.identifiers import Identifier, ProfileId, uuid_text
from aka.server.domain.reserved import ReservedList
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1


class Answer(NamedTuple):
    """What a command did."""

    outcome: v1.Outcome.ValueType
    profile_id: ProfileId | None
    """The profile that all the command's identifiers now are on; None where that is not yet known."""
    user_id: str
    """Its primary id; empty while it is anonymous."""
    merged: ProfileId | None = None
    """The profile that became a tombstone."""

    def without(self, made: set[ProfileId]) -> "Answer":
        """Return the answer with the ids of profiles that were only tried out left empty."""
        return self._replace(
            profile_id=None if self.profile_id in made else self.profile_id,
            merged=None if self.merged in made else self.merged,
        )


def answer(outcome: v1.Outcome.ValueType, profile: Profile) -> Answer:
    """Answer with a profile as it is."""
    return Answer(outcome, profile.id, profile.primary or "")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that an operator sets."""

    max_identifiers: int = 1000
    """Identifiers and tombstones that a profile may have."""
    reserved: ReservedList = field(default_factory=ReservedList.default)

    def refuse_reserved(self, identifier: Identifier, path: str, **named: str) -> None:
        """Refuse to link a value that bugs send as an id. Labels and names may have any value.

        `named` goes into the error's metadata, as in `merge`.
        """
        if identifier.is_id and identifier.name in self.reserved:
            raise AkaError(
                v1.ERROR_REASON_RESERVED_IDENTIFIER,
                f"is {identifier.name!r}, a value that clients send by mistake; send the person's own id, or nothing",
                field=path,
                value=identifier.name,
                **named,
            )

    def link(
        self, graph: Graph, profile: Profile, identifier: Identifier, *, anonymous: bool = False, **named: str
    ) -> Linked:
        """Link a free identifier to a profile, or raise LABEL_TAKEN or TOO_MANY_IDENTIFIERS.

        `named` goes into the error's metadata, as in `merge`.
        """
        if not identifier.is_id:
            taken = graph.labels(profile).get(identifier.label)
            if taken is not None:
                raise label_taken(identifier.label, **{"profile_id": uuid_text(profile.id)} | named)
        self._refuse_too_many(profile.identifiers + 1, profile.tombstones, profile.id, **named)
        return Linked(profile.id, identifier, anonymous)

    def merge(self, graph: Graph, loser: Profile, survivor: Profile, *, orphaned: bool, **named: str) -> Merged:
        """Join two profiles, or raise LABEL_TAKEN or TOO_MANY_IDENTIFIERS."""
        if loser.user_aliases and survivor.user_aliases:
            shared = sorted(graph.labels(loser).keys() & graph.labels(survivor).keys())
            if shared:
                raise label_taken(shared[0], **{"profile_id": uuid_text(survivor.id)} | named)
        self._refuse_too_many(
            survivor.identifiers + loser.identifiers,
            survivor.tombstones + loser.tombstones + 1,
            survivor.id,
            **named,
        )
        return Merged(loser.id, survivor.id, loser.primary, loser.created_at, survivor.created_at, orphaned)

    def _refuse_too_many(self, identifiers: int, tombstones: int, on: ProfileId, **named: str) -> None:
        if identifiers + tombstones <= self.max_identifiers:
            return
        raise AkaError(
            v1.ERROR_REASON_TOO_MANY_IDENTIFIERS,
            f"The profile would have {identifiers} identifiers and {tombstones} tombstones;"
            f" together {self.max_identifiers} are allowed",
            **{"profile_id": uuid_text(on)}
            | named
            | {
                "identifiers": str(identifiers),
                "tombstones": str(tombstones),
                "maximum": str(self.max_identifiers),
            },
        )


def label_taken(label: str, **metadata: str) -> AkaError:
    """Say that a profile would have two names under one label."""
    return AkaError(
        v1.ERROR_REASON_LABEL_TAKEN,
        f"The profile has another name under the label {label!r}; unlink that one first, or use another label",
        **metadata,
        label=label,
    )


def self_alias(path: str) -> AkaError:
    """Say that an id would be linked to itself."""
    why = "is the very id that it would be linked to: an id needs no link to itself"
    return AkaError(v1.ERROR_REASON_SELF_ALIAS, why, field=path)
