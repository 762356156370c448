"""The names that a profile can have, and what makes one well formed."""

import re
from typing import Final, NamedTuple, NewType

from aka.server.errors import field_required, invalid_value

ProfileId = NewType("ProfileId", bytes)
"""The 16 bytes of a profile's UUIDv7."""

MAX_ID_BYTES: Final = 400
MAX_USER_ALIAS_BYTES: Final = 236

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode category Cc
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class Identifier(NamedTuple):
    """A name for a profile: an id, or a user alias's (label, name) pair.

    A label is never empty, so the empty label marks an id and the two namespaces share one key. (A named
    tuple, as all values of the graph: frozen like a dataclass, hashed and compared in C.)
    """

    label: str
    name: str

    @property
    def is_id(self) -> bool:
        """Whether it is an id rather than a user alias."""
        return not self.label


Key = Identifier | ProfileId
"""What a decision or a read can ask the graph for."""


def id_of(value: str) -> Identifier:
    """Return the identifier of a well-formed id."""
    return Identifier("", value)


def checked_id(value: str, field: str) -> Identifier:
    """Return `value` as an id of 1 to 400 bytes; FIELD_REQUIRED or INVALID_VALUE at `field` otherwise."""
    return Identifier("", checked_text(value, field, MAX_ID_BYTES))


def checked_user_alias(label: str, name: str, *, label_field: str, name_field: str) -> Identifier:
    """Return a user alias, label and name 1 to 236 bytes each; FIELD_REQUIRED or INVALID_VALUE otherwise."""
    name = checked_text(name, name_field, MAX_USER_ALIAS_BYTES)
    return Identifier(checked_text(label, label_field, MAX_USER_ALIAS_BYTES), name)


def checked_uuid(value: str, field: str) -> bytes:
    """Return the 16 bytes of a UUID written with hyphens, in any case; INVALID_VALUE at `field` otherwise."""
    if not value:
        raise field_required(field)
    if not _UUID.fullmatch(value):
        raise invalid_value(field, "is no UUID: 32 hexadecimal digits as 8-4-4-4-12, in any case, are expected")
    return bytes.fromhex(value.replace("-", ""))


def checked_profile_id(value: str, field: str) -> ProfileId:
    """Return the profile id that `value` writes; INVALID_VALUE at `field` where it is no UUID."""
    return ProfileId(checked_uuid(value, field))


def checked_uuidv7(value: str, field: str) -> ProfileId:
    """Return the profile id that `value` writes, which a profile may be given; INVALID_VALUE where it is no UUIDv7."""
    profile_id = checked_profile_id(value, field)
    if profile_id[6] >> 4 != 7 or profile_id[8] >> 6 != 0b10:
        raise invalid_value(field, "is no UUIDv7, as profile ids are; leave it out to have one made")
    return profile_id


def uuid_text(value: bytes) -> str:
    """Write 16 bytes as a UUID in lower case."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def checked_text(value: str, field: str, most: int) -> str:
    """Return `value` of 1 to `most` bytes without control characters; FIELD_REQUIRED or INVALID_VALUE otherwise."""
    if value.isascii() and value.isprintable() and 0 < len(value) <= most:  # as nearly all are, and quickest to tell
        return value
    if not value:
        raise field_required(field)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise invalid_value(field, "has a lone surrogate, which UTF-8 cannot write") from None
    if size > most:
        raise invalid_value(field, f"is {size} bytes long; {most} are allowed", bytes=str(size), maximum=str(most))
    if control := _CONTROL.search(value):
        character, position = f"U+{ord(control[0]):04X}", str(control.start())
        why = f"has a control character ({character}) at position {position}"
        raise invalid_value(field, why, character=character, position=position)
    return value
