"""The names of a profile: ids, user aliases, profile ids."""

from dataclasses import dataclass
from typing import TypeAlias


class ProfileId(str):
    """A profile's id, a UUID: a string that is taken for a profile id, not for an id, where an identifier is wanted.

    Answers have their profile ids as these, so they can be asked for as they are. One that was kept as a plain string
    becomes one again by `ProfileId(text)`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"ProfileId({str(self)!r})"


@dataclass(frozen=True, slots=True)
class UserAlias:
    """A label and a name. It shares no namespace with ids."""

    label: str
    name: str


Identifier: TypeAlias = str | UserAlias | ProfileId
"""Any name of a profile: a plain `str` is an id, even one that looks like a UUID."""
