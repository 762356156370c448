"""Calls of ImportLinks and ExportLinks from a command, repeated while the server is away or too busy."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from aka.v1 import alias_service_pb2 as v1
from aka.v1.alias_service_pb2_grpc import AliasServiceStub

OUTCOMES: Final = ("created", "linked", "identified", "merged", "already_linked")
"""What can become of a link that is not refused, as the answer's fields are named."""

MESSAGE_LINKS: Final = 1000
MESSAGE_BYTES: Final = 1 << 20
"""About what a message has at most; the server takes four times that."""
CALL_SECONDS: Final = 600.0
"""What one call may take; what it did not get to is for another."""
LONGEST_WAIT: Final = 10.0
"""Seconds between two attempts, unless the server asks for more."""

_MAY_PASS: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,  # by a connection that was cut
        grpc.StatusCode.UNKNOWN,  # likewise
    }
)


class GaveUp(Exception):
    """A call failed, and would again or did for too long; the message says why."""

    def __init__(self, message: str, code: grpc.StatusCode) -> None:
        super().__init__(message)
        self.code = code


class Patience:
    """Waits between attempts, each time longer, and gives up where nothing succeeds for too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self._wait = 0.1

    def succeeded(self) -> None:
        """Begin anew."""
        self._until, self._wait = None, 0.1

    def bear(self, error: grpc.RpcError) -> None:
        """Wait before the next attempt; GaveUp where there should be none."""
        reason, asked = _details(error)
        code = error.code()
        now = time.monotonic()
        until = self._until = self._until or now + self._seconds
        wait = max(self._wait * random.uniform(0.5, 1), asked or 0)
        may_pass = asked is not None or code in _MAY_PASS
        if not may_pass or now + wait > until:
            raise GaveUp(f"{reason or code.name}: {error.details()}", code)
        time.sleep(wait)
        self._wait = min(self._wait * 2, LONGEST_WAIT)


class LinkCalls:
    """Calls a server with a key."""

    def __init__(self, channel: grpc.Channel, key: str, patience: float) -> None:
        """`patience`: seconds for which calls are repeated though none succeeds."""
        self._stub = AliasServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._patience = Patience(patience)

    def begin_import(
        self, links: Sequence[v1.Link], merge_policy: v1.MergePolicy.ValueType, *, validate_only: bool
    ) -> "Import":
        """Begin to import links, which are sent while the caller does something else."""

        def begin(start: int) -> Any:
            messages = (
                v1.ImportLinksRequest(links=part, merge_policy=merge_policy, validate_only=validate_only)
                for part in _parts(links, start)
            )
            return self._stub.ImportLinks.future(messages, metadata=self._metadata, timeout=CALL_SECONDS)

        return Import(len(links), begin, self._patience)

    def export(self, token: str) -> Iterator[v1.ExportLinksResponse]:
        """Return the messages of an export behind a token, whatever is in between; GaveUp where it cannot go on."""
        while True:
            try:
                request = v1.ExportLinksRequest(resume_token=token)
                for message in self._stub.ExportLinks(request, metadata=self._metadata, timeout=CALL_SECONDS):
                    yield message
                    token = message.resume_token
                    self._patience.succeeded()
                return
            except grpc.RpcError as error:
                self._patience.bear(error)


class Account:
    """What became of links."""

    def __init__(self) -> None:
        self.links = 0
        """How many there were."""
        self.outcomes: Counter[str] = Counter()
        """How many came to each outcome."""
        self.refused: list[tuple[int, v1.RefusedLink]] = []
        """The others, by their places from 0."""

    def add(self, answer: v1.ImportLinksResponse) -> None:
        """Note what became of the next ones."""
        self.outcomes.update({name: getattr(answer, name) for name in OUTCOMES})
        self.refused += ((self.links + refused.index, refused) for refused in answer.refused)
        self.links += answer.links_received


class Import:
    """Links that are being imported."""

    def __init__(self, links: int, begin: Callable[[int], Any], patience: Patience) -> None:
        self._links = links
        self._begin = begin
        self._patience = patience
        self._call = begin(0) if links else None
        self.account = Account()
        """What became of them so far."""

    def finish(self) -> None:
        """Return when something became of all of them, whatever is in between; GaveUp where it cannot go on."""
        while self.account.links < self._links:
            try:
                self.account.add((self._call or self._begin(self.account.links)).result())
                self._patience.succeeded()
            except grpc.RpcError as error:
                self._patience.bear(error)
            self._call = None


def _parts(links: Sequence[v1.Link], start: int) -> Iterator[list[v1.Link]]:
    """Return the links from a place on in parts, each as large as a message should be."""
    part: list[v1.Link] = []
    size = 0
    for link in islice(links, start, None):
        length = link.ByteSize()
        if part and (len(part) == MESSAGE_LINKS or size + length > MESSAGE_BYTES):
            yield part
            part, size = [], 0
        part.append(link)
        size += length
    if part:
        yield part


def _details(error: grpc.RpcError) -> tuple[str, float | None]:
    """Return the reason of an error of aka's, and the seconds after which it may pass, as far as they are told."""
    reason, wait = "", None
    trailers: Any = error.trailing_metadata() or ()
    for name, value in trailers:
        if name == "grpc-status-details-bin":
            with suppress(DecodeError):  # a proxy on the way may write anything
                for detail in Status.FromString(value).details:
                    info, retry = ErrorInfo(), RetryInfo()
                    if detail.Unpack(info):
                        reason = str(info.reason)
                    elif detail.Unpack(retry):
                        wait = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, wait
