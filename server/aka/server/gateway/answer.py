"""What a dialect answers, before it becomes an HTTP response."""

from typing import Any, NamedTuple


class Answer(NamedTuple):
    """A status and a body that JSON can write."""

    status: int
    body: Any
