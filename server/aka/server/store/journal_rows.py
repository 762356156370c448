"""The journal's changes as the columns of its table, and back, for every backend."""

from typing import Any

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged, Unlinked
from aka.server.domain.identifiers import Identifier, ProfileId

COLUMNS = "kind, profile, label, name, flag, anonymous, other, linked_at, created_at, other_created_at"
"""The columns that tell a change, in the order in which `values_of` writes and `change_of` reads them."""


def values_of(change: Change) -> tuple[Any, ...]:
    """Return a change's values of `COLUMNS`. The schema says which of them a kind uses."""
    match change:
        case Created(profile, (label, name), primary, anonymous):
            return "created", profile, label, name, primary, anonymous, None, None, None, None
        case Linked(profile, (label, name), anonymous):
            return "linked", profile, label, name, False, anonymous, None, None, None, None
        case Unlinked(profile, (label, name), origin, anonymous, linked_at):
            return "unlinked", profile, label, name, False, anonymous, origin, linked_at, None, None
        case Identified(profile, (label, name), anonymous):
            return "identified", profile, label, name, False, anonymous, None, None, None, None
        case Merged(loser, survivor, primary_id, loser_created_at, created_at, orphaned):
            return "merged", survivor, "", primary_id, orphaned, False, loser, None, created_at, loser_created_at


def change_of(
    kind: str,
    profile: ProfileId,
    label: str,
    name: str,
    flag: bool,
    anonymous: bool,
    other: ProfileId,
    linked_at: int,
    created_at: int,
    other_created_at: int,
) -> Change:
    """Return the change that a row's values of `COLUMNS` tell."""
    match kind:
        case "created":
            return Created(profile, Identifier(label, name), bool(flag), bool(anonymous))
        case "linked":
            return Linked(profile, Identifier(label, name), bool(anonymous))
        case "unlinked":
            return Unlinked(profile, Identifier(label, name), other, bool(anonymous), linked_at)
        case "identified":
            return Identified(profile, Identifier(label, name), bool(anonymous))
        case _:
            return Merged(other, profile, name, other_created_at, created_at, bool(flag))
