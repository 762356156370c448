"""The RPCs as data: names, message types, permissions, and what each counts against the rate limit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from aka.v1 import alias_service_pb2 as v1

ChangeRequest = (
    v1.AliasRequest | v1.BatchAliasRequest | v1.CreateAliasesRequest | v1.IdentifyRequest | v1.DeleteAliasRequest
)
"""A request that can be tried out (`validate_only`) and made safe to repeat (`request_id`)."""

SERVICE: Final = "aka.v1.AliasService"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC."""

    name: str
    request: type[Message]
    response: type[Message]
    permission: str
    cost: Callable[[Any], int]
    """What a request counts against the rate limit: one, or one an item."""


def _one(_: Any) -> int:
    return 1


def _identify_cost(request: v1.IdentifyRequest) -> int:
    """Count the items, but two as one where the second is the first without its subject: what it falls back on."""
    items = request.aliases_to_identify
    if len(items) == 2 and items[0].external_id == items[1].external_id:
        return 1 if items[0].WhichOneof("subject") and not items[1].WhichOneof("subject") else 2
    return len(items) or 1


def _method(name: str, permission: str, cost: Callable[[Any], int] = _one) -> Method:
    described = v1.DESCRIPTOR.services_by_name["AliasService"].methods_by_name[name]
    return Method(name, GetMessageClass(described.input_type), GetMessageClass(described.output_type), permission, cost)


METHODS: Final = {
    method.name: method
    for method in (
        _method("Alias", "aliases.write"),
        _method("BatchAlias", "aliases.write", lambda request: len(request.requests) or 1),
        _method("CreateAliases", "aliases.write", lambda request: len(request.user_aliases) or 1),
        _method("Identify", "aliases.write", _identify_cost),
        _method("Resolve", "profiles.read"),
        _method("GetProfile", "profiles.read"),
        _method("DeleteAlias", "aliases.write"),
    )
}
