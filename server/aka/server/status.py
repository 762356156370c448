"""An AkaError as callers get it: a google.rpc.Status with its details."""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from aka.server.errors import AkaError

DOMAIN = "aka"

CODES = {code.value[0]: code for code in grpc.StatusCode}
"""grpc's status codes by number."""


def status_of(error: AkaError, request_id: str | None = None) -> Status:
    """Return the status, with ErrorInfo, BadRequest where a field is at fault, RetryInfo where repeating helps.

    `request_id` adds RequestInfo. (Details as google/rpc/error_details.proto and AIP-193 describe them.)
    """
    details: list[Message] = [ErrorInfo(reason=error.name, domain=DOMAIN, metadata=error.metadata)]
    if error.field is not None:
        violation = BadRequest.FieldViolation(field=error.field, description=error.message, reason=error.name)
        details.append(BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        wait = Duration()
        wait.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(RetryInfo(retry_delay=wait))
    if request_id is not None:
        details.append(RequestInfo(request_id=request_id))
    status = Status(code=error.status, message=error.message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
