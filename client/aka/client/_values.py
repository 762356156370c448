"""What calls are given and what they answer: frozen values, never messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from aka.client._errors import AkaError
from aka.client._identifiers import Identifier, ProfileId, UserAlias


class Outcome(StrEnum):
    """What a change did."""

    CREATED = "CREATED"
    """A profile was made."""
    LINKED = "LINKED"
    """An identifier was linked to a profile that existed."""
    ALREADY_LINKED = "ALREADY_LINKED"
    """All was as asked before the call; nothing was written."""
    MERGED = "MERGED"
    """Two profiles were joined; `merged_profile_id` is the one that is now a tombstone."""
    IDENTIFIED = "IDENTIFIED"
    """An anonymous profile got its primary id."""
    UNKNOWN = "UNKNOWN"
    """Something that this version of the client has no word for."""


class MergePolicy(StrEnum):
    """Which profiles `alias` may join when the alias is on another profile than the user."""

    NEVER = "NEVER"
    """None: a taken alias is refused with `AliasTaken`."""
    ANONYMOUS = "ANONYMOUS"
    """Two of which at least one is anonymous; what the server does where nothing is said."""
    ALWAYS = "ALWAYS"
    """Any two. To join two identified ones the key needs the permission `profiles.merge`."""


class MergeBehavior(StrEnum):
    """What follows when `identify` joins a user alias's anonymous profile to another."""

    NONE = "NONE"
    """Push tokens and message history alone; what the server does where nothing is said."""
    MERGE = "MERGE"
    """Everything: the survivor's values win, gaps are filled."""


class IdentifierKind(StrEnum):
    """The part that an identifier plays on its profile."""

    PRIMARY = "PRIMARY"
    """The primary id of an identified profile."""
    ALIAS = "ALIAS"
    """Any id that is none of the others."""
    USER_ALIAS = "USER_ALIAS"
    """A label and a name."""
    ANONYMOUS = "ANONYMOUS"
    """An id that was first linked as an `anonymous_id`."""
    UNKNOWN = "UNKNOWN"
    """Something that this version of the client has no word for."""


class Consistency(StrEnum):
    """How fresh a read must be."""

    STRONG = "STRONG"
    """Every change that was acknowledged before is seen; what the server does where nothing is said."""
    EVENTUAL = "EVENTUAL"
    """The read may come from a replica and lag behind."""


@dataclass(frozen=True, slots=True)
class AliasRequest:
    """One item of `batch_alias`."""

    user_id: str | ProfileId
    """Any id of the user, or the user's profile id."""
    alias_id: str
    merge_policy: MergePolicy | None = None
    """None: the server's, which is ANONYMOUS."""
    create_missing: bool = False
    """Whether a user who is not known is made."""


@dataclass(frozen=True, slots=True)
class NewUserAlias:
    """One item of `create_aliases`: a user alias or an anonymous id."""

    user_alias: UserAlias | None = None
    anonymous_id: str | None = None
    external_id: str | None = None
    """Any id of the profile to link to; None: a new anonymous profile is made."""


@dataclass(frozen=True, slots=True)
class AliasToIdentify:
    """One item of `identify_many`: an external id, and what is to be known by it."""

    external_id: str
    user_alias: UserAlias | None = None
    anonymous_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes to set on the profile, as in `ProfileAttributes`; with the rest of the item, or not at all."""
    time: datetime | None = None
    """Since when they are so, as in `ProfileAttributes`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did."""

    outcome: Outcome
    profile_id: ProfileId | None
    """The profile that all the identifiers now are on; None where `validate_only` would have made it."""
    user_id: str | None
    """Its primary id; None while it is anonymous."""
    merged_profile_id: ProfileId | None
    """The profile that is now a tombstone, where two were joined."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item of a batch: a change, or the error that it was refused with."""

    index: int
    """The item's place, from 0."""
    change: Change | None
    error: AkaError | None

    def unwrap(self) -> Change:
        """Return the change, or raise the error."""
        if self.change is None:
            raise self.error or AssertionError("an item has a change or an error")
        return self.change


@dataclass(frozen=True, slots=True)
class Resolution:
    """Whose an identifier is."""

    identifier: Identifier
    """What was asked for."""
    found: bool
    """Whether it is anyone's. Where it is not, all that follows is None or false."""
    profile_id: ProfileId | None
    user_id: str | None
    """The profile's primary id; None while it is anonymous."""
    identified: bool
    """Whether the profile has a primary id."""
    redirected_from: ProfileId | None
    """The tombstone that was asked for by its profile id, where it was one."""


@dataclass(frozen=True, slots=True)
class LinkedIdentifier:
    """An identifier on a profile."""

    identifier: str | UserAlias
    kind: IdentifierKind
    linked_at: datetime
    """In UTC."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One person."""

    profile_id: ProfileId
    user_id: str | None
    """The primary id; None while the profile is anonymous."""
    identified: bool
    identifiers: tuple[LinkedIdentifier, ...]
    """All of them: ids first, then user aliases by label; each in byte order."""
    merged_profile_ids: tuple[ProfileId, ...]
    """Its tombstones, newest first: the newest 100."""
    merged_profile_count: int
    """How many tombstones it has."""
    created_at: datetime
    """In UTC; after a merge that keeps all data, when the older of the two was made."""
    updated_at: datetime
    """When it, or what is linked to it, last changed; in UTC."""
    redirected_from: ProfileId | None
    """The tombstone that was asked for by its profile id, where it was one."""


@dataclass(frozen=True, slots=True)
class Link:
    """That an identifier is a profile's. What each field does in an import: docs/import-export.md."""

    profile_id: str | ProfileId | None = None
    user_id: str | None = None
    """The id that the profile is known by; None where it is anonymous."""
    alias_id: str | None = None
    """What is linked: an id, or one of the two that follow. None of them: the link is that of `user_id` itself."""
    anonymous_id: str | None = None
    user_alias: UserAlias | None = None
    linked_at: datetime | None = None
    """When it was linked, in UTC; only in an export. An import links now."""


@dataclass(frozen=True, slots=True)
class RefusedLink:
    """A link that was not imported."""

    index: int
    """Its place among the links of the call, from 0."""
    error: AkaError


@dataclass(frozen=True, slots=True)
class ImportAccount:
    """What `import_links` did."""

    links_received: int
    """How many links, from the first on, were done or refused. The next call goes on behind them."""
    complete: bool
    """Whether these are all."""
    created: int
    """How many were `Outcome.CREATED`, and so on."""
    linked: int
    already_linked: int
    merged: int
    identified: int
    refused: tuple[RefusedLink, ...]
    """The others of them, in order."""


@dataclass(frozen=True, slots=True)
class LinkPage:
    """A part of what `export_links` yields."""

    links: tuple[Link, ...]
    """1 to 1000."""
    resume_token: str
    """With it another call goes on behind these links in the same workspace, at any time, by another server too."""


@dataclass(frozen=True, slots=True)
class Unlinked:
    """What `delete_alias` did."""

    profile_id: ProfileId | None
    """The profile that the identifier was on; None where it was nobody's."""
