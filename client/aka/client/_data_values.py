"""The data of profiles: what Track is given, and what ExportProfiles answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aka.client._errors import AkaError
from aka.client._identifiers import Identifier, ProfileId
from aka.client._values import LinkedIdentifier


@dataclass(frozen=True, slots=True)
class PushToken:
    """Where a device receives push messages."""

    app_id: str
    token: str
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class ProfileAttributes:
    """Attributes and push tokens for a profile: an item of `track`.

    Whose it is: `user`, where a plain str is an external id, or `anonymous_id`. A user who is not known is made,
    unless `update_existing_only`. The same holds for the other items.
    """

    user: Identifier | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Values that JSON can write, by name. None removes an attribute."""
    set_once: Mapping[str, Any] = field(default_factory=dict)
    """Values that are set where the profile has none of the name."""
    push_tokens: tuple[PushToken, ...] = ()
    """Those that are added."""
    time: datetime | None = None
    """Since when they are so; one that is older than an attribute's own leaves it as it is. None: now."""
    anonymous_id: str | None = None
    update_existing_only: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user did: an item of `track` (see `ProfileAttributes`), or of an export, without a user."""

    name: str
    user: Identifier | None = None
    time: datetime | None = None
    """None: now. In an export in UTC."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    anonymous_id: str | None = None
    update_existing_only: bool = False


@dataclass(frozen=True, slots=True)
class Purchase:
    """Something that a user bought: an item of `track` (see `ProfileAttributes`), or of an export, without a user."""

    product_id: str
    currency: str
    """Of ISO 4217, in capitals."""
    price: float
    """Of one of it."""
    user: Identifier | None = None
    quantity: int = 1
    time: datetime | None = None
    """None: now. In an export in UTC."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    anonymous_id: str | None = None
    update_existing_only: bool = False


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that a user was sent: an item of `track` (see `ProfileAttributes`), or of an export, without a user."""

    name: str
    user: Identifier | None = None
    time: datetime | None = None
    """None: now. In an export in UTC."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    anonymous_id: str | None = None
    update_existing_only: bool = False


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An item of `track` of which nothing was done."""

    items: str
    """What it was given as: `attributes`, `events`, `purchases` or `messages`."""
    index: int
    """Its place among them, from 0."""
    error: AkaError


@dataclass(frozen=True, slots=True)
class Tracked:
    """What `track` did."""

    processed: int
    """How many items were done."""
    refused: tuple[RefusedItem, ...]
    """The others."""


@dataclass(frozen=True, slots=True)
class OrphanedData:
    """What did not follow when a profile was merged by `MergeBehavior.NONE`."""

    profile_id: ProfileId
    """The tombstone's."""
    attributes: Mapping[str, Any]
    events: tuple[Event, ...]
    purchases: tuple[Purchase, ...]


@dataclass(frozen=True, slots=True)
class ExportedProfile:
    """All that is kept of a profile. What was not asked for is empty."""

    profile_id: ProfileId
    user_id: str | None
    """The primary id; None while the profile is anonymous."""
    identified: bool
    identifiers: tuple[LinkedIdentifier, ...]
    """The first 1000; `get_profile` has all."""
    identifier_count: int
    """How many there are."""
    attributes: Mapping[str, Any]
    push_tokens: tuple[PushToken, ...]
    events: tuple[Event, ...]
    """The oldest first, as all that follows."""
    purchases: tuple[Purchase, ...]
    messages: tuple[SentMessage, ...]
    orphaned: tuple[OrphanedData, ...]
    created_at: datetime
    updated_at: datetime
    redirected_from: ProfileId | None
    """The tombstone that was asked for by its profile id, where it was one."""
