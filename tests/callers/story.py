"""What every caller does with two served akas, and what it is answered: each RPC once, and three calls that fail."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from google.protobuf import json_format
from grpc import StatusCode

from aka.server.methods import METHODS

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

KIOSK: Final = {"alias_label": "kiosk", "alias_name": "7"}


class Served(NamedTuple):
    """Where an aka is, over gRPC and over REST, and a key that may do everything in an empty workspace of it."""

    address: str
    rest: str
    key: str


class Site(NamedTuple):
    """The akas that a caller finds."""

    aka: Served
    locked: Served
    """Its database's write lock is held by somebody else, so that it cannot change anything."""


class Refusal(NamedTuple):
    """A call's error as its caller read it: gRPC's code, and what the ErrorInfo in its details says."""

    code: StatusCode
    reason: str = ""
    domain: str = ""
    metadata: Mapping[str, str] = {}


class Report(NamedTuple):
    """What a caller was answered."""

    answers: Mapping[str, Any]
    """By method, as proto JSON; a list of them where the answer is a stream."""
    refusal: Refusal
    """Of `UNKNOWN_USER`."""
    late: Refusal
    """Of `CHANGE`, sent to the locked aka with a deadline that passes meanwhile."""
    unavailable: Refusal
    """Of the same without a deadline."""
    over_rest: bool = False
    """Whether it was called over REST, which has no streams."""


CALLS: Final[Mapping[str, Any]] = {
    "CreateAliases": {"user_aliases": [KIOSK]},
    "Identify": {
        "aliases_to_identify": [{"external_id": "user_123", "user_alias": KIOSK}],
        "merge_behavior": "MERGE_BEHAVIOR_MERGE",
    },
    "Alias": {"user_id": "user_123", "alias_id": "legacy_999"},
    "BatchAlias": {
        "requests": [
            {"user_id": "user_123", "alias_id": "crm:1"},
            {
                "user_id": "user_456",
                "alias_id": "crm:2",
                "merge_policy": "MERGE_POLICY_ALWAYS",
                "create_missing": True,
            },
        ]
    },
    "Resolve": {"identifiers": [{"id": "crm:1"}, {"user_alias": KIOSK}, {"id": "nobody"}]},
    "GetProfile": {"identifier": {"id": "legacy_999"}},
    "DeleteAlias": {"id": "crm:1"},
    "ImportLinks": [
        {"links": [{"user_id": "user_789"}, {"user_id": "user_789", "alias_id": "erp:1"}]},
        {"links": [{"user_id": "user_123", "alias_id": "legacy_999"}]},
    ],
    "ExportLinks": {},
    "Track": {
        "attributes": [{"external_id": "user_123", "attributes": {"city": "Bern"}}],
        "events": [{"external_id": "user_123", "name": "signed_up", "properties": {"plan": "free", "seats": 2}}],
    },
    "ExportProfiles": {"profiles": [{"id": "user_123"}], "fields": "attributes,events"},
}
"""The bodies, in order; a list of them where a stream is sent."""

UNKNOWN_USER: Final = {"user_id": "nobody", "alias_id": "legacy_000"}
CHANGE: Final = {"user_id": "user_123", "alias_id": "legacy_999", "create_missing": True}
DEADLINE: Final = 0.3
"""Seconds; less than an aka waits for a lock."""

ANSWERS: Final[Mapping[str, Any]] = {
    "CreateAliases": {
        "aliases_processed": 1,
        "results": [{"outcome": "OUTCOME_CREATED", "profile_id": "PROFILE 0"}],
    },
    "Identify": {
        "aliases_processed": 1,
        "results": [{"outcome": "OUTCOME_IDENTIFIED", "profile_id": "PROFILE 0", "user_id": "user_123"}],
    },
    "Alias": {
        "user_id": "user_123",
        "alias_id": "legacy_999",
        "profile_id": "PROFILE 0",
        "outcome": "OUTCOME_LINKED",
    },
    "BatchAlias": {
        "results": [
            {"outcome": "OUTCOME_LINKED", "profile_id": "PROFILE 0", "user_id": "user_123"},
            {"index": 1, "outcome": "OUTCOME_CREATED", "profile_id": "PROFILE 1", "user_id": "user_456"},
        ]
    },
    "Resolve": {
        "resolutions": [
            {"found": True, "profile_id": "PROFILE 0", "user_id": "user_123", "identified": True},
            {"found": True, "profile_id": "PROFILE 0", "user_id": "user_123", "identified": True},
            {},
        ]
    },
    "GetProfile": {
        "profile": {
            "profile_id": "PROFILE 0",
            "user_id": "user_123",
            "identified": True,
            "identifiers": [
                {"identifier": {"id": "crm:1"}, "kind": "IDENTIFIER_KIND_ALIAS", "linked_at": "TIME"},
                {"identifier": {"id": "legacy_999"}, "kind": "IDENTIFIER_KIND_ALIAS", "linked_at": "TIME"},
                {"identifier": {"id": "user_123"}, "kind": "IDENTIFIER_KIND_PRIMARY", "linked_at": "TIME"},
                {"identifier": {"user_alias": KIOSK}, "kind": "IDENTIFIER_KIND_USER_ALIAS", "linked_at": "TIME"},
            ],
            "created_at": "TIME",
            "updated_at": "TIME",
            "identifier_count": 4,
        }
    },
    "DeleteAlias": {"profile_id": "PROFILE 0"},
    "ImportLinks": {"links_received": "3", "complete": True, "created": "1", "linked": "1", "already_linked": "1"},
    "ExportLinks": [
        {"profile_id": "PROFILE 1", "user_id": "user_456", "alias_id": "crm:2", "linked_at": "TIME"},
        {"profile_id": "PROFILE 2", "user_id": "user_789", "alias_id": "erp:1", "linked_at": "TIME"},
        {"profile_id": "PROFILE 0", "user_id": "user_123", "alias_id": "legacy_999", "linked_at": "TIME"},
        {"profile_id": "PROFILE 0", "user_id": "user_123", "linked_at": "TIME"},
        {"profile_id": "PROFILE 1", "user_id": "user_456", "linked_at": "TIME"},
        {"profile_id": "PROFILE 2", "user_id": "user_789", "linked_at": "TIME"},
        {"profile_id": "PROFILE 0", "user_id": "user_123", "user_alias": KIOSK, "linked_at": "TIME"},
    ],
    "Track": {"attributes_processed": 1, "events_processed": 1},
    "ExportProfiles": {
        "profiles": [
            {
                "profile_id": "PROFILE 0",
                "user_id": "user_123",
                "identified": True,
                "created_at": "TIME",
                "updated_at": "TIME",
                "identifier_count": 3,
                "attributes": {"city": "Bern"},
                "events": [{"name": "signed_up", "time": "TIME", "properties": {"plan": "free", "seats": 2.0}}],
            }
        ]
    },
}
"""What they are answered, as `shown` shows it."""


def shown(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return answers with the contract's names, empty fields left out, profile ids as their numbers and no times.

    Of ExportLinks there are the links, in however many messages they came.
    """
    told = {method: in_full(method, answers[method]) for method in CALLS if method in answers}
    if "ExportLinks" in told:
        told["ExportLinks"] = [link for message in told["ExportLinks"] for link in message["links"]]
    numbers: dict[str, str] = {}
    text = UUID.sub(lambda found: numbers.setdefault(found[0], f"PROFILE {len(numbers)}"), json.dumps(told))
    return dict(json.loads(TIME.sub("TIME", text)))


def in_full(method: str, answer: Any) -> Any:
    """Return a message, or each of a stream, with the proto's names, however its caller wrote it."""
    if METHODS[method].gives_stream:
        return [_in_full(method, message) for message in answer]
    return _in_full(method, answer)


def _in_full(method: str, message: Any) -> Any:
    response = json_format.ParseDict(message, METHODS[method].response())
    return json_format.MessageToDict(response, preserving_proto_field_name=True)
