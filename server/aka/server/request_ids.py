"""The x-request-id of a call, by which it is found again in answers, log and journal."""

import re
from typing import Final

import uuid_utils

_GOOD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def given_or_new(given: str | None) -> str:
    """Return the id that a caller gave, or a new one where that is absent or no good."""
    return given if given is not None and _GOOD.fullmatch(given) else str(uuid_utils.uuid4())
