"""Calls aka from Python: `AsyncClient` for asyncio, `Client` for threads. (docs/clients.md)

    from aka.client import Client

    with Client("127.0.0.1:50051", api_key="aka_...") as client:
        client.identify("user_123")
        client.alias("user_123", "stripe:cus_abc123")
        assert client.resolve("stripe:cus_abc123").user_id == "user_123"

A call without a good answer raises one of these. A status has a class for what aka did not answer itself, and below it
one for each reason that aka gives; a reason that this version does not know has its status's.

    AkaError
    ├── InvalidArgumentError
    │   ├── BatchSize
    │   ├── FieldRequired
    │   ├── InvalidValue
    │   ├── RequestIdReused
    │   ├── ReservedIdentifier
    │   └── SelfAlias
    ├── NotFoundError
    │   ├── AliasNotFound
    │   ├── KeyNotFound
    │   ├── ProfileNotFound
    │   ├── UserNotFound
    │   └── WorkspaceNotFound
    ├── AlreadyExistsError
    │   ├── AliasTaken
    │   └── WorkspaceExists
    ├── FailedPreconditionError
    │   ├── AlreadyIdentified
    │   ├── IdentifiedProfile
    │   ├── LabelTaken
    │   ├── LastIdentifier
    │   ├── LastOperatorKey
    │   ├── NotOnProfile
    │   ├── PrimaryIdentifier
    │   ├── TooManyIdentifiers
    │   └── TooMuchData
    ├── UnauthenticatedError
    │   ├── KeyInvalid
    │   ├── KeyMissing
    │   └── KeyRevoked
    ├── PermissionDeniedError
    │   └── PermissionMissing
    ├── ResourceExhaustedError
    │   ├── Overloaded
    │   └── RateLimited
    ├── AbortedError
    │   └── Conflict
    ├── UnavailableError
    │   ├── OutcomeUnknown
    │   └── StoreUnavailable
    ├── DeadlineExceededError
    │   └── Deadline
    └── InternalError
        └── Internal

Arguments that cannot be sent at all are a TypeError or a ValueError.
"""

from aka.client._async_client import AsyncClient
from aka.client._channel import Tls
from aka.client._client import Client
from aka.client._connection import Call
from aka.client._data_values import (
    Event,
    ExportedProfile,
    OrphanedData,
    ProfileAttributes,
    Purchase,
    PushToken,
    RefusedItem,
    SentMessage,
    Tracked,
)
from aka.client._errors import (
    AbortedError,
    AkaError,
    AliasNotFound,
    AliasTaken,
    AlreadyExistsError,
    AlreadyIdentified,
    BatchSize,
    Conflict,
    Deadline,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldRequired,
    IdentifiedProfile,
    Internal,
    InternalError,
    InvalidArgumentError,
    InvalidValue,
    KeyInvalid,
    KeyMissing,
    KeyNotFound,
    KeyRevoked,
    LabelTaken,
    LastIdentifier,
    LastOperatorKey,
    NotFoundError,
    NotOnProfile,
    OutcomeUnknown,
    Overloaded,
    PermissionDeniedError,
    PermissionMissing,
    PrimaryIdentifier,
    ProfileNotFound,
    RateLimit,
    RateLimited,
    RequestIdReused,
    ReservedIdentifier,
    ResourceExhaustedError,
    SelfAlias,
    StoreUnavailable,
    TooManyIdentifiers,
    TooMuchData,
    UnauthenticatedError,
    UnavailableError,
    UserNotFound,
    WorkspaceExists,
    WorkspaceNotFound,
)
from aka.client._identifiers import Identifier, ProfileId, UserAlias
from aka.client._values import (
    AliasRequest,
    AliasToIdentify,
    Change,
    Consistency,
    IdentifierKind,
    ImportAccount,
    ItemResult,
    Link,
    LinkedIdentifier,
    LinkPage,
    MergeBehavior,
    MergePolicy,
    NewUserAlias,
    Outcome,
    Profile,
    RefusedLink,
    Resolution,
    Unlinked,
)

__all__ = [
    "AbortedError",
    "AkaError",
    "AliasNotFound",
    "AliasRequest",
    "AliasTaken",
    "AliasToIdentify",
    "AlreadyExistsError",
    "AlreadyIdentified",
    "AsyncClient",
    "BatchSize",
    "Call",
    "Change",
    "Client",
    "Conflict",
    "Consistency",
    "Deadline",
    "DeadlineExceededError",
    "Event",
    "ExportedProfile",
    "FailedPreconditionError",
    "FieldRequired",
    "IdentifiedProfile",
    "Identifier",
    "IdentifierKind",
    "ImportAccount",
    "Internal",
    "InternalError",
    "InvalidArgumentError",
    "InvalidValue",
    "ItemResult",
    "KeyInvalid",
    "KeyMissing",
    "KeyNotFound",
    "KeyRevoked",
    "LabelTaken",
    "LastIdentifier",
    "LastOperatorKey",
    "Link",
    "LinkPage",
    "LinkedIdentifier",
    "MergeBehavior",
    "MergePolicy",
    "NewUserAlias",
    "NotFoundError",
    "NotOnProfile",
    "OrphanedData",
    "Outcome",
    "OutcomeUnknown",
    "Overloaded",
    "PermissionDeniedError",
    "PermissionMissing",
    "PrimaryIdentifier",
    "Profile",
    "ProfileAttributes",
    "ProfileId",
    "ProfileNotFound",
    "Purchase",
    "PushToken",
    "RateLimit",
    "RateLimited",
    "RefusedItem",
    "RefusedLink",
    "RequestIdReused",
    "ReservedIdentifier",
    "Resolution",
    "ResourceExhaustedError",
    "SelfAlias",
    "SentMessage",
    "StoreUnavailable",
    "Tls",
    "TooManyIdentifiers",
    "TooMuchData",
    "Tracked",
    "UnauthenticatedError",
    "UnavailableError",
    "Unlinked",
    "UserAlias",
    "UserNotFound",
    "WorkspaceExists",
    "WorkspaceNotFound",
]
