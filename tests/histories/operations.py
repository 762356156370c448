"""Calls as their callers saw them: what was asked, when, and what the answer was."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One call. Times are nanoseconds on one clock."""

    caller: int
    request: Message
    began: int
    """Before it was sent."""
    ended: int
    """After the answer came, or its caller gave up."""
    answer: Message | None
    """The response, or the ErrorInfo of a refusal; None where the caller was not told what became of the call."""

    @property
    def method(self) -> str:
        """The RPC's name."""
        return type(self.request).__name__.removesuffix("Request")


def shown(operations: Iterable[Operation]) -> str:
    """Write operations as lines, in the order in which they began. Profile ids are P0, P1, ... as they turn up."""
    inorder = sorted(operations, key=lambda each: each.began)
    text = "\n".join(_line(each, inorder[0].began) for each in inorder)
    names: dict[str, str] = {}
    for profile_id in _profile_ids(inorder):
        names.setdefault(profile_id, f"P{len(names)}")
    for profile_id, name in names.items():
        text = text.replace(profile_id, name)
    return text


def named_profiles(message: Message | None) -> list[str]:
    """Return the profile ids that a request or an answer bears, as they are written there."""
    found: list[str] = []
    if isinstance(message, ErrorInfo):
        return [value for name, value in message.metadata.items() if name.endswith("profile_id")]
    if message is None:
        return found
    if isinstance(message, Any):
        info = ErrorInfo()
        return named_profiles(info) if message.Unpack(info) else found
    for field, value in message.ListFields():
        if field.name in _PROFILE_IDS:
            found += [value] if isinstance(value, str) else value
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                found += named_profiles(part)
    return found


_PROFILE_IDS = frozenset(
    {"profile_id", "primary_user_id", "merged_profile_id", "merged_profile_ids", "redirected_from"}
)


def _profile_ids(operations: Sequence[Operation]) -> Iterable[str]:
    for each in operations:
        yield from named_profiles(each.request)
        yield from named_profiles(each.answer)


def _line(operation: Operation, since: int) -> str:
    began, ended = ((at - since) // 1000 for at in (operation.began, operation.ended))
    if operation.answer is None:
        answer = f"unknown from {ended} on"
    else:
        refused = "refused " if isinstance(operation.answer, ErrorInfo) else ""
        answer = f"{refused}{_text(operation.answer)}"
    return (
        f"{began:>8}..{ended:<8} µs  {operation.caller:>2}  {operation.method} {_text(operation.request)} -> {answer}"
    )


def _text(message: Message) -> str:
    return text_format.MessageToString(message, as_one_line=True) or "(nothing)"
