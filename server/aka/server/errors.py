"""What aka refuses a call with, and the one table from reason to gRPC status."""

from typing import Final, TypeAlias

from google.rpc import code_pb2

from aka.v1 import alias_service_pb2 as v1

Reason: TypeAlias = v1.ErrorReason.ValueType

PREFIX: Final = "ERROR_REASON_"

STATUS: Final[dict[Reason, int]] = {
    v1.ERROR_REASON_FIELD_REQUIRED: code_pb2.INVALID_ARGUMENT,
    v1.ERROR_REASON_INVALID_VALUE: code_pb2.INVALID_ARGUMENT,
    v1.ERROR_REASON_RESERVED_IDENTIFIER: code_pb2.INVALID_ARGUMENT,
    v1.ERROR_REASON_SELF_ALIAS: code_pb2.INVALID_ARGUMENT,
    v1.ERROR_REASON_BATCH_SIZE: code_pb2.INVALID_ARGUMENT,
    v1.ERROR_REASON_REQUEST_ID_REUSED: code_pb2.INVALID_ARGUMENT,
    v1.ERROR_REASON_USER_NOT_FOUND: code_pb2.NOT_FOUND,
    v1.ERROR_REASON_ALIAS_NOT_FOUND: code_pb2.NOT_FOUND,
    v1.ERROR_REASON_PROFILE_NOT_FOUND: code_pb2.NOT_FOUND,
    v1.ERROR_REASON_KEY_NOT_FOUND: code_pb2.NOT_FOUND,
    v1.ERROR_REASON_WORKSPACE_NOT_FOUND: code_pb2.NOT_FOUND,
    v1.ERROR_REASON_ALIAS_TAKEN: code_pb2.ALREADY_EXISTS,
    v1.ERROR_REASON_WORKSPACE_EXISTS: code_pb2.ALREADY_EXISTS,
    v1.ERROR_REASON_IDENTIFIED_PROFILE: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_ALREADY_IDENTIFIED: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_LABEL_TAKEN: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_PRIMARY_IDENTIFIER: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_LAST_IDENTIFIER: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_NOT_ON_PROFILE: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_TOO_MANY_IDENTIFIERS: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_LAST_OPERATOR_KEY: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_TOO_MUCH_DATA: code_pb2.FAILED_PRECONDITION,
    v1.ERROR_REASON_KEY_MISSING: code_pb2.UNAUTHENTICATED,
    v1.ERROR_REASON_KEY_INVALID: code_pb2.UNAUTHENTICATED,
    v1.ERROR_REASON_KEY_REVOKED: code_pb2.UNAUTHENTICATED,
    v1.ERROR_REASON_PERMISSION_MISSING: code_pb2.PERMISSION_DENIED,
    v1.ERROR_REASON_RATE_LIMITED: code_pb2.RESOURCE_EXHAUSTED,
    v1.ERROR_REASON_OVERLOADED: code_pb2.RESOURCE_EXHAUSTED,
    v1.ERROR_REASON_CONFLICT: code_pb2.ABORTED,
    v1.ERROR_REASON_STORE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    v1.ERROR_REASON_OUTCOME_UNKNOWN: code_pb2.UNAVAILABLE,
    v1.ERROR_REASON_DEADLINE: code_pb2.DEADLINE_EXCEEDED,
    v1.ERROR_REASON_INTERNAL: code_pb2.INTERNAL,
}

RETRY_AFTER: Final[dict[Reason, float]] = {
    v1.ERROR_REASON_RATE_LIMITED: 1.0,
    v1.ERROR_REASON_OVERLOADED: 1.0,
    v1.ERROR_REASON_STORE_UNAVAILABLE: 1.0,
    v1.ERROR_REASON_OUTCOME_UNKNOWN: 1.0,
}
"""Seconds to wait before the call is repeated, where the error itself knows no better."""


class AkaError(Exception):
    """An error of a call, or of one item of it. Nothing was done, but where the reason is OUTCOME_UNKNOWN or INTERNAL.

    `reason` decides the status (`STATUS`). `text` says what was wrong and what to do; where the error is about
    a `field`, the message begins with that field's path and `text` ends the sentence. `metadata` bears the
    values that the message speaks of. `retry_after` is in seconds, for the reasons in `RETRY_AFTER` only.
    """

    def __init__(self, reason: Reason, text: str = "", *, field: str | None = None, **metadata: str) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.text = text
        self.field = field
        self.retry_after = RETRY_AFTER.get(reason)
        self.metadata = metadata if field is None else {"field": field} | metadata

    @property
    def message(self) -> str:
        """One sentence for the caller."""
        if self.reason == v1.ERROR_REASON_FIELD_REQUIRED:
            return f"Missing required field: {self.field}"
        return self.text if self.field is None else f"{self.field} {self.text}"

    @property
    def name(self) -> str:
        """The reason's name as callers see it, such as `ALIAS_TAKEN`."""
        return v1.ErrorReason.Name(self.reason).removeprefix(PREFIX)

    @property
    def status(self) -> int:
        """The gRPC status code (google.rpc.Code)."""
        return STATUS[self.reason]

    def within(self, path: str) -> "AkaError":
        """Return the same error with its field under `path`, as in `user_aliases[7].alias_label`."""
        if self.field is None:
            return self
        return AkaError(self.reason, self.text, **self.metadata | {"field": f"{path}.{self.field}"})

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def field_required(path: str) -> AkaError:
    """Say that a required field is absent or empty."""
    return AkaError(v1.ERROR_REASON_FIELD_REQUIRED, field=path)


def invalid_value(path: str, why: str, **metadata: str) -> AkaError:
    """Say what is wrong with a field's value; `why` ends the sentence that the path begins."""
    return AkaError(v1.ERROR_REASON_INVALID_VALUE, why, field=path, **metadata)


def internal() -> AkaError:
    """Say that aka failed, and nothing else."""
    return AkaError(v1.ERROR_REASON_INTERNAL, "aka failed; its log says more under this request id")


def server_stopping() -> AkaError:
    """Say that the server takes no more calls."""
    return AkaError(v1.ERROR_REASON_STORE_UNAVAILABLE, "The server is stopping; nothing was changed")
