"""Why a request gets no success: the contract's reasons as a stub raises them, and those that HTTP adds."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

# The gateway's own, of requests that never become a call.
MALFORMED: Final = "MALFORMED"
WRONG_TYPE: Final = "WRONG_TYPE"
MISSING: Final = "FIELD_REQUIRED"
TOO_LARGE: Final = "TOO_LARGE"
HEAD_TOO_LARGE: Final = "HEAD_TOO_LARGE"
TOO_SLOW: Final = "TOO_SLOW"
MEDIA_TYPE: Final = "MEDIA_TYPE"
UNKNOWN_ENVIRONMENT: Final = "UNKNOWN_ENVIRONMENT"

GATEWAYS_OWN: Final = frozenset(
    {MALFORMED, WRONG_TYPE, TOO_LARGE, HEAD_TOO_LARGE, TOO_SLOW, MEDIA_TYPE, UNKNOWN_ENVIRONMENT}
)

HTTP_STATUS: Final = {
    MALFORMED: 400,
    WRONG_TYPE: 400,
    UNKNOWN_ENVIRONMENT: 400,
    TOO_SLOW: 408,
    TOO_LARGE: 413,
    MEDIA_TYPE: 415,
    HEAD_TOO_LARGE: 431,
    "FIELD_REQUIRED": 400,
    "INVALID_VALUE": 400,
    "RESERVED_IDENTIFIER": 400,
    "SELF_ALIAS": 400,
    "BATCH_SIZE": 400,
    "REQUEST_ID_REUSED": 400,
    "USER_NOT_FOUND": 404,
    "ALIAS_NOT_FOUND": 404,
    "PROFILE_NOT_FOUND": 404,
    "KEY_NOT_FOUND": 404,
    "WORKSPACE_NOT_FOUND": 404,
    "ALIAS_TAKEN": 409,
    "WORKSPACE_EXISTS": 409,
    "IDENTIFIED_PROFILE": 409,
    "ALREADY_IDENTIFIED": 409,
    "LABEL_TAKEN": 409,
    "PRIMARY_IDENTIFIER": 409,
    "LAST_IDENTIFIER": 409,
    "NOT_ON_PROFILE": 409,
    "TOO_MANY_IDENTIFIERS": 409,
    "TOO_MUCH_DATA": 409,
    "LAST_OPERATOR_KEY": 409,
    "KEY_MISSING": 401,
    "KEY_INVALID": 401,
    "KEY_REVOKED": 401,
    "PERMISSION_MISSING": 403,
    "RATE_LIMITED": 429,
    "OVERLOADED": 503,
    "CONFLICT": 503,
    "STORE_UNAVAILABLE": 503,
    "OUTCOME_UNKNOWN": 503,
    "DEADLINE": 503,
    "INTERNAL": 500,
}
"""The HTTP status of each reason."""

UNREAD: Final = {400: MALFORMED, 408: TOO_SLOW, 431: HEAD_TOO_LARGE}
"""The reason of a request that cannot be read, by its HTTP status."""

# What grpc says by itself, without a reason of aka's: a text of ours for each, since its own may tell of the inside.
_WITHOUT_REASON: Final = {
    grpc.StatusCode.UNAVAILABLE: (
        "OUTCOME_UNKNOWN",
        "The aka server cannot be reached, or went away; the call was done or was not. Repeat it",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: ("DEADLINE", "The deadline passed; the call was done or was not. Repeat it"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("OVERLOADED", "The aka server has too much to do; repeat the call later"),
}


class Refusal(Exception):
    """What a request is answered with instead of success.

    `reason` is a key of `HTTP_STATUS`; `retry_after` is in whole seconds, where repeating helps; `status` is the
    google.rpc.Status of the call, where one was made.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: dict[str, str] | None = None,
        retry_after: int | None = None,
        status: Status | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.metadata = metadata or {}
        self.retry_after = retry_after
        self.status = status

    @property
    def http_status(self) -> int:
        """The HTTP status that the reason has by itself; a dialect may have another."""
        return HTTP_STATUS[self.reason]

    def renamed(self, name: Callable[[str], str]) -> "Refusal":
        """Return the refusal with the path of its field, if it is about one, as `name` makes it of the call's."""
        path = self.metadata.get("field")
        if path is None:
            return self
        told = name(path)
        message = self.message.replace(path, told, 1)
        return Refusal(self.reason, message, metadata=self.metadata | {"field": told}, retry_after=self.retry_after)


def refusal_of(status: Status) -> Refusal:
    """Read a google.rpc.Status of aka's: a call's, or an item's of a batch."""
    info, retry = ErrorInfo(), RetryInfo()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(retry)
    wait = math.ceil(retry.retry_delay.ToTimedelta().total_seconds()) or None
    reason = info.reason if info.reason in HTTP_STATUS else "INTERNAL"
    return Refusal(reason, status.message, metadata=dict(info.metadata), retry_after=wait, status=status)


def refusal_of_call(error: grpc.aio.AioRpcError, trailers: Sequence[tuple[str, str | bytes]]) -> Refusal:
    """Read what a stub raised."""
    for name, value in trailers:
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return refusal_of(Status.FromString(value))
            except DecodeError:
                break
    reason, message = _WITHOUT_REASON.get(error.code(), ("INTERNAL", "aka failed"))
    status = Status(code=error.code().value[0], message=message)
    return Refusal(reason, message, retry_after=1 if HTTP_STATUS[reason] == 503 else None, status=status)
