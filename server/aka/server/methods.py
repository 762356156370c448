"""The services' RPCs as data: names, message types, permissions, and what each counts against the rate limit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from aka.admin.v1 import admin_service_pb2 as admin_v1
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1

ChangeRequest = (
    v1.AliasRequest
    | v1.BatchAliasRequest
    | v1.CreateAliasesRequest
    | v1.IdentifyRequest
    | v1.DeleteAliasRequest
    | v1.TrackRequest
)
"""A request that can be tried out (`validate_only`) and made safe to repeat (`request_id`)."""

SERVICE: Final = "aka.v1.AliasService"
ADMIN_SERVICE: Final = "aka.admin.v1.AdminService"


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One RPC. There is one object for each, so that it is found by its identity."""

    service: str
    name: str
    request: type[Message]
    response: type[Message]
    permissions: tuple[str, ...]
    """A key needs one of them."""
    cost: Callable[[Any], int]
    """What a request counts against the rate limit: one, or one an item."""
    takes_stream: bool
    """The caller sends any number of requests."""
    gives_stream: bool
    """The answer is any number of responses."""

    @property
    def is_unary(self) -> bool:
        """Whether it is one request and one response."""
        return not (self.takes_stream or self.gives_stream)

    def decode(self, body: bytes | Message) -> Message:
        """Return a request of it; INVALID_VALUE where it is none."""
        if isinstance(body, Message):
            return body
        try:
            return self.request.FromString(body)
        except DecodeError:
            raise AkaError(
                v1.ERROR_REASON_INVALID_VALUE,
                f"The message is no {self.request.DESCRIPTOR.full_name}: it cannot be decoded, or a string in it is"
                " not UTF-8",
            ) from None


Methods = Mapping[str, Method]
"""A service's, by name."""


def _one(_: Any) -> int:
    return 1


def _identify_cost(request: v1.IdentifyRequest) -> int:
    """Count the items, but two as one where the second is the first without its subject: what it falls back on."""
    items = request.aliases_to_identify
    if len(items) == 2 and items[0].external_id == items[1].external_id:
        return 1 if items[0].WhichOneof("subject") and not items[1].WhichOneof("subject") else 2
    return len(items) or 1


def _track_cost(request: v1.TrackRequest) -> int:
    items = len(request.attributes) + len(request.events) + len(request.purchases) + len(request.messages)
    return items or 1


def _methods(service: ServiceDescriptor, *methods: tuple[str, tuple[str, ...], Callable[[Any], int]]) -> Methods:
    return {
        name: Method(
            service.full_name,
            name,
            GetMessageClass(described.input_type),
            GetMessageClass(described.output_type),
            permissions,
            cost,
            described.client_streaming,
            described.server_streaming,
        )
        for name, permissions, cost in methods
        for described in (service.methods_by_name[name],)
    }


_READS: Final = ("profiles.read",)
_WRITES: Final = ("aliases.write",)
_TRACKS: Final = ("profiles.write",)
_EXPORTS: Final = ("profiles.export",)
_KEYS: Final = ("keys.admin", "operator")
_WORKSPACES: Final = ("operator",)

METHODS: Final = _methods(
    v1.DESCRIPTOR.services_by_name["AliasService"],
    ("Alias", _WRITES, _one),
    ("BatchAlias", _WRITES, lambda request: len(request.requests) or 1),
    ("CreateAliases", _WRITES, lambda request: len(request.user_aliases) or 1),
    ("Identify", _WRITES, _identify_cost),
    ("Resolve", _READS, _one),
    ("GetProfile", _READS, _one),
    ("DeleteAlias", _WRITES, _one),
    ("ImportLinks", _WRITES, lambda request: len(request.links) or 1),
    ("ExportLinks", _EXPORTS, _one),
    ("Track", _TRACKS, _track_cost),
    ("ExportProfiles", _EXPORTS, lambda request: len(request.profiles) or 1),
)

ADMIN_METHODS: Final = _methods(
    admin_v1.DESCRIPTOR.services_by_name["AdminService"],
    ("CreateKey", _KEYS, _one),
    ("ListKeys", _KEYS, _one),
    ("RevokeKey", _KEYS, _one),
    ("CreateWorkspace", _WORKSPACES, _one),
    ("ListWorkspaces", _WORKSPACES, _one),
)

SERVICES: Final = {SERVICE: METHODS, ADMIN_SERVICE: ADMIN_METHODS}
"""The methods of every service."""
