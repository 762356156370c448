"""What a store promises: it runs pure decisions, durably, and knows none of their rules."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType, Protocol

from aka.server.domain.graph import Decision, Link, Profile
from aka.server.domain.identifiers import Identifier, Key, ProfileId
from aka.server.domain.profile_data import Kind, StoredData
from aka.server.errors import AkaError
from aka.server.metrics import StoreMetrics
from aka.v1 import alias_service_pb2 as v1

Workspace = NewType("Workspace", int)
"""A tenant's number. It leads every key of every table."""

ANSWERS_ARE_KEPT_FOR = 24 * 3600 * 1_000_000
"""Microseconds that a `request_id` gets its first answer again."""


class CannotOpen(Exception):
    """The database cannot be opened; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Once:
    """A call's `request_id`: the same method and fingerprint get the first OK answer again."""

    request_id: bytes
    method: str
    fingerprint: bytes
    """SHA-256 of the request."""
    keep: Callable[[list[Any]], bytes | None]
    """Writes the answer that the results make; None where it is not OK and so is not kept."""


class Caller(NamedTuple):
    """Who asks, until when, and how."""

    api_key: bytes
    """The key's id, for the journal."""
    request: str
    """The call's x-request-id, for the journal."""
    deadline: float | None = None
    """When the caller stops waiting, on the event loop's clock."""
    validate_only: bool = False
    """Answer and write nothing."""
    once: Once | None = None
    """Left alone where `validate_only` is set."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that a `request_id` got before."""

    method: str
    fingerprint: bytes
    answer: bytes


class AnsweredBefore(Exception):
    """The call's `request_id` has an answer already: this one."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without its secret. Times are in microseconds since the epoch."""

    id: bytes
    workspace: Workspace
    workspace_name: str
    name: str
    prefix: str
    permissions: frozenset[str]
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    revoked_at: int | None

    def is_good(self, now: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class NewApiKey(NamedTuple):
    """An API key that is to be added."""

    id: bytes
    """A UUIDv7: keys are listed by it, the oldest first."""
    digest: bytes
    """SHA-256 of the secret, which the key is found by."""
    name: str
    prefix: str
    """The part of the secret that may be shown."""
    permissions: Collection[str]
    expires_at: int | None = None


class NamedWorkspace(NamedTuple):
    """A workspace as it is listed."""

    name: str
    created_at: int


class StoredLink(NamedTuple):
    """A link as it is listed."""

    identifier: Identifier
    anonymous: bool
    """It came as an `anonymous_id`."""
    linked_at: int
    profile_id: ProfileId
    """The living profile that it resolves to."""
    primary: str | None
    """That profile's primary id."""


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """A living profile and some of its identifiers, in (label, name) order."""

    profile: Profile
    identifiers: Sequence[tuple[Identifier, Link]]
    more: bool
    """Whether other identifiers follow."""
    tombstones: Sequence[ProfileId]
    """The newest 100, newest first."""


class ActivityPlace(NamedTuple):
    """Where an activity is among those of a profile and its tombstones."""

    at: int
    origin: ProfileId
    number: int


class ProfileData(NamedTuple):
    """A living profile, some of its identifiers, and the data of it and its tombstones."""

    page: ProfilePage
    data: StoredData
    more: bool
    """Whether other activities follow."""


class Living(NamedTuple):
    """The living profile that a key resolves to."""

    id: ProfileId
    primary: str | None
    """Its primary id; None while it is anonymous."""


class Store(Protocol):
    """Keeps the identity graph. Identifiers compare byte for byte in every store.

    Every method raises AkaError STORE_UNAVAILABLE where the store cannot be reached, OVERLOADED where more waits
    than it could do in time, and DEADLINE where the caller's deadline passed before its turn.
    """

    async def resolve(
        self, workspace: Workspace, keys: Collection[Key], deadline: float | None, *, eventual: bool = False
    ) -> Mapping[Key, Living]:
        """Return whose the keys are, as last committed; those that are nobody's are not in it, and others may be.

        Where the answer may be `eventual`, it may be of a moment before.
        """
        ...

    async def read_profile(
        self,
        workspace: Workspace,
        key: Key,
        after: Identifier | None,
        limit: int,
        deadline: float | None,
        *,
        eventual: bool = False,
    ) -> ProfilePage | None:
        """Return the profile of a key with at most `limit` identifiers after `after`; None where it is nobody's.

        `eventual` as in `resolve`.
        """
        ...

    async def read_data(
        self,
        workspace: Workspace,
        key: Key,
        identifiers: int,
        kinds: Collection[Kind],
        after: ActivityPlace | None,
        limit: int,
        deadline: float | None,
    ) -> ProfileData | None:
        """Return the data of a key's profile and its tombstones, as of one moment; None where the key is nobody's.

        Of its identifiers and of its activities of these kinds, by time and behind `after`, there are so many at most.
        """
        ...

    async def list_links(
        self, workspace: Workspace, after: Identifier | None, limit: int, deadline: float | None
    ) -> Sequence[StoredLink]:
        """Return a workspace's links in (label, name) order, byte for byte: at most `limit` whose are after `after`.

        They are of one moment, and what is asked for next is of another.
        """
        ...

    async def transact(self, workspace: Workspace, decisions: Sequence[Decision[Any]], by: Caller) -> list[Any]:
        """Load what the decisions' keys reach, run them in order, write their changes and the journal, commit once.

        Returns an answer or an AkaError for each. What a decision raises writes nothing and is its own answer;
        the decisions beside it go on. A decision may run again after a clash, and in one transaction with others'.
        Raises AnsweredBefore, or REQUEST_ID_REUSED, where `by.once` says so; OUTCOME_UNKNOWN where the commit failed.
        """
        ...

    async def find_api_key(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, whether or not it is still good."""
        ...

    async def add_first_api_key(self, workspace: str, key: NewApiKey) -> bool:
        """Add a key, and its workspace if need be, where the store has no key at all; say whether it was added."""
        ...

    async def add_api_key(self, workspace: Workspace, key: NewApiKey) -> ApiKey:
        """Add a key to a workspace and return it."""
        ...

    async def list_api_keys(self, workspace: Workspace, after: bytes, limit: int) -> Sequence[ApiKey]:
        """Return a workspace's keys in the order of their ids, at most `limit` whose ids are greater than `after`."""
        ...

    async def revoke_api_key(self, key_id: bytes, within: Workspace | None) -> ApiKey:
        """Revoke a key and return it; one that is revoked already stays as it is.

        KEY_NOT_FOUND where there is no such key, or none in the workspace that is given. LAST_OPERATOR_KEY where no
        other key with the permission `operator` is good.
        """
        ...

    async def note_api_key_uses(self, uses: Mapping[bytes, int]) -> None:
        """Write when keys, by their ids, were last used, unless a later use is known."""
        ...

    async def find_workspace(self, name: str) -> Workspace | None:
        """Return the workspace of this name."""
        ...

    async def add_workspace(self, name: str, first: NewApiKey) -> ApiKey:
        """Add a workspace and its first key, and return that; WORKSPACE_EXISTS where another has the name."""
        ...

    async def list_workspaces(self, after: str, limit: int) -> Sequence[NamedWorkspace]:
        """Return workspaces by their names, byte for byte: at most `limit` whose names are greater than `after`."""
        ...

    async def measure(self) -> StoreMetrics:
        """Return what was done so far and how large the store is. Cheap, however large it is."""
        ...

    async def check_ready(self) -> None:
        """Return where the store can be used now, and raise STORE_UNAVAILABLE where it cannot."""
        ...

    async def close(self) -> None:
        """Finish what waits and let the store go."""
        ...


def store_unavailable(why: str) -> AkaError:
    """Say that the store could not be used, and that nothing was changed."""
    return AkaError(v1.ERROR_REASON_STORE_UNAVAILABLE, f"The store cannot be used now ({why}); nothing was changed")


def conflict() -> AkaError:
    """Say that others changed the same profiles all the time."""
    return AkaError(
        v1.ERROR_REASON_CONFLICT,
        "Others changed the same profiles at the same time, again and again; nothing was changed. Repeat the call",
    )


def outcome_unknown() -> AkaError:
    """Say that a commit failed half-way."""
    return AkaError(
        v1.ERROR_REASON_OUTCOME_UNKNOWN,
        "The store failed while committing; the change was made or was not. Repeat the call to know",
    )
