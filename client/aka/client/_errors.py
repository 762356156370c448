"""The errors of calls: one class for each status and for each `ErrorReason`, and the one way that they are made."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from aka.client._identifiers import ProfileId

_DOMAIN: Final = "aka"
_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

Metadata = Sequence[tuple[str, str | bytes]]


class RateLimit(NamedTuple):
    """Where the API key stood after a call."""

    limit: int
    """What it may do in a window."""
    remaining: int
    """What it may still do in this one."""
    reset: int
    """When the window ends, in seconds since the epoch."""


class AkaError(Exception):
    """A call that has no good answer, or one item of a batch that was refused."""

    code: grpc.StatusCode
    """The gRPC status."""
    reason: str | None
    """Why, as `ErrorReason` names it, such as `ALIAS_TAKEN`; None where aka did not answer."""
    message: str
    """What was wrong and what to do, in a sentence. It may have identifiers in it."""
    metadata: Mapping[str, str]
    """The values that the message speaks of."""
    request_id: str | None
    """The `x-request-id` by which the server's log has the call."""
    field: str | None
    """The path of the field at fault, such as `user_aliases[7].alias_label`."""
    retry_after: float | None
    """Seconds after which the call may pass, where the server said so."""
    rate_limit: RateLimit | None
    """Where the API key stands, where a limit is in force."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
        field: str | None = None,
        retry_after: float | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = metadata or {}
        self.request_id = request_id
        self.field = field
        self.retry_after = retry_after
        self.rate_limit = rate_limit

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it go to other processes."""
        told = (self.code, self.message, self.reason, self.metadata, self.request_id)
        return type(self), (*told, self.field, self.retry_after, self.rate_limit)

    @property
    def nothing_changed(self) -> bool:
        """Whether it is sure that nothing was changed. Where it is not, repeat the call to know."""
        return self.reason is not None and (self.code in _NOTHING_CHANGED or self.reason == "STORE_UNAVAILABLE")

    @property
    def user_profile_id(self) -> ProfileId | None:
        """The profile of the user, or of the external id, that a refusal names; None where it is nobody's."""
        return self._profile("user_profile_id", "profile_id")

    @property
    def alias_profile_id(self) -> ProfileId | None:
        """The profile of the alias, or of what was to be identified; None where it is nobody's."""
        return self._profile("alias_profile_id", "subject_profile_id")

    def _profile(self, name: str, other_name: str) -> ProfileId | None:
        # `profile_id` is the one that there is not, where none was found.
        other = "" if self.code is grpc.StatusCode.NOT_FOUND else self.metadata.get(other_name, "")
        return ProfileId(self.metadata.get(name) or other) or None


class InvalidArgumentError(AkaError):
    """INVALID_ARGUMENT: correct the request."""


class FieldRequired(InvalidArgumentError):
    """A required field is absent or empty."""


class InvalidValue(InvalidArgumentError):
    """A field has a value that it cannot have."""


class ReservedIdentifier(InvalidArgumentError):
    """A value that bugs send (`null`, `undefined`, zeros, ...) would be linked as an id."""


class SelfAlias(InvalidArgumentError):
    """An id would be linked to itself."""


class BatchSize(InvalidArgumentError):
    """Too few or too many items."""


class RequestIdReused(InvalidArgumentError):
    """The `request_id` was used with another method or body in the last 24 hours."""


class NotFoundError(AkaError):
    """NOT_FOUND: nobody and nothing is known by that."""


class UserNotFound(NotFoundError):
    """The user id is nobody's."""


class AliasNotFound(NotFoundError):
    """The alias is nobody's."""


class ProfileNotFound(NotFoundError):
    """No profile has this profile id or identifier."""


class KeyNotFound(NotFoundError):
    """No API key that the caller may know of has this id."""


class WorkspaceNotFound(NotFoundError):
    """No workspace has this name."""


class AlreadyExistsError(AkaError):
    """ALREADY_EXISTS: the alias or the name is taken."""


class AliasTaken(AlreadyExistsError):
    """The alias is another profile's."""


class WorkspaceExists(AlreadyExistsError):
    """Another workspace has this name."""


class FailedPreconditionError(AkaError):
    """FAILED_PRECONDITION: the profiles, or the keys, are not in a state that allows it."""


class IdentifiedProfile(FailedPreconditionError):
    """Both profiles are identified, and the merge policy does not join such."""


class AlreadyIdentified(FailedPreconditionError):
    """The profile to identify is identified already."""


class LabelTaken(FailedPreconditionError):
    """The profile has another name under the label."""


class PrimaryIdentifier(FailedPreconditionError):
    """A profile's primary id cannot be unlinked."""


class LastIdentifier(FailedPreconditionError):
    """A profile's only identifier cannot be unlinked."""


class NotOnProfile(FailedPreconditionError):
    """The identifier is on another profile than the given one."""


class TooManyIdentifiers(FailedPreconditionError):
    """The profile would have more identifiers and tombstones than the server allows."""


class TooMuchData(FailedPreconditionError):
    """The profile would hold more data than it may."""


class LastOperatorKey(FailedPreconditionError):
    """No other good API key has the permission `operator`."""


class UnauthenticatedError(AkaError):
    """UNAUTHENTICATED: use a good key."""


class KeyMissing(UnauthenticatedError):
    """The call bears no API key."""


class KeyInvalid(UnauthenticatedError):
    """The API key is unknown."""


class KeyRevoked(UnauthenticatedError):
    """The API key was revoked or has expired."""


class PermissionDeniedError(AkaError):
    """PERMISSION_DENIED: the key may not do this."""


class PermissionMissing(PermissionDeniedError):
    """The API key has not the permission that the call needs."""


class ResourceExhaustedError(AkaError):
    """RESOURCE_EXHAUSTED: repeat the call later, or send less."""


class RateLimited(ResourceExhaustedError):
    """The API key has used up its rate limit for now."""


class Overloaded(ResourceExhaustedError):
    """The server has more work waiting than it could finish in time."""


class AbortedError(AkaError):
    """ABORTED: repeat the call."""


class Conflict(AbortedError):
    """Other changes of the same profiles kept getting in between."""


class UnavailableError(AkaError):
    """UNAVAILABLE: the server cannot be reached, or cannot answer now."""


class StoreUnavailable(UnavailableError):
    """The store cannot be reached or written; nothing was changed."""


class OutcomeUnknown(UnavailableError):
    """The store failed while committing; the change was made or was not."""


class DeadlineExceededError(AkaError):
    """DEADLINE_EXCEEDED: the call took longer than it may; perhaps it was done."""


class Deadline(DeadlineExceededError):
    """The server told so itself."""


class InternalError(AkaError):
    """INTERNAL: perhaps it was done."""


class Internal(InternalError):
    """A bug in aka; the server's log has more under the request id."""


_NOTHING_CHANGED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)


def _by_name(classes: Sequence[type[AkaError]], suffix: str = "") -> Mapping[str, type[AkaError]]:
    """Return classes by the upper-case name that their own is made of."""
    names = (one.__name__.removesuffix(suffix) for one in classes)
    upper = ("".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)[1:] for name in names)
    return dict(zip(upper, classes, strict=True))


STATUSES: Final = _by_name(AkaError.__subclasses__(), "Error")
"""The class of every status that aka answers with, by its name; others are plain `AkaError`s."""

REASONS: Final = _by_name([one for status in AkaError.__subclasses__() for one in status.__subclasses__()])
"""The class of every reason, by its name in `ErrorReason` without the prefix."""


def error_of_call(error: grpc.RpcError, request_id: str) -> AkaError:
    """Return the error of a call; `request_id` is the one that was sent, in case nobody answered."""
    failed: Any = error  # types-grpcio has no type that both gRPC APIs' errors are of
    trailers = failed.trailing_metadata() or ()
    packed = next((value for name, value in trailers if name == "grpc-status-details-bin"), b"")
    try:
        details: Sequence[Packed] = Status.FromString(packed).details
    except DecodeError:
        details = ()
    request_id = request_id_of(trailers) or request_id
    return _error(failed.code(), failed.details() or "", details, request_id, rate_limit_of(trailers))


def error_of_item(status: Status, request_id: str) -> AkaError:
    """Return the error of one item of a batch; `request_id` is the batch's."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _error(code, status.message, status.details, request_id, None)


def request_id_of(trailers: Metadata) -> str | None:
    """Return the `x-request-id` that the server answered with."""
    return next((str(value) for name, value in trailers if name == "x-request-id"), None)


def rate_limit_of(trailers: Metadata) -> RateLimit | None:
    """Return where the key stands, None where no limit is in force."""
    told = {name: value for name, value in trailers if name.startswith("x-ratelimit-")}
    try:
        return RateLimit(*(int(told[f"x-ratelimit-{field}"]) for field in RateLimit._fields))
    except (KeyError, ValueError):
        return None


def _error(
    code: grpc.StatusCode, message: str, details: Iterable[Packed], request_id: str, rate_limit: RateLimit | None
) -> AkaError:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in details:
        for known in (info, bad, retry):
            with suppress(DecodeError):
                detail.Unpack(known)
    reason = info.reason if info.domain == _DOMAIN else None
    return (REASONS.get(reason or "") or STATUSES.get(code.name, AkaError))(
        code,
        message,
        reason=reason,
        metadata=dict(info.metadata),
        request_id=request_id,
        field=bad.field_violations[0].field if bad.field_violations else None,
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        rate_limit=rate_limit,
    )
