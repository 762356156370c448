"""Pairs of profiles to merge, prepared through the API: with n identifiers each, or with n tombstones each.

The pairs are numbered; of pair 7 the two profiles are known by the ids `KIND-left-00000007` and `KIND-right-00000007`.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from google.protobuf.message import Message

from aka.v1 import alias_service_pb2 as v1
from benchmarks.calls import BATCH, ITEMS, no_item_failed, tried
from benchmarks.load import Calls, Driver, Number, mark
from benchmarks.servers import Server

_CALLERS: Final = 8


class Prepare(Protocol):
    """A way to make pairs of profiles of a size."""

    __name__: str

    def __call__(self, driver: Driver, server: Server, kind: str, size: int, pairs: int) -> None:
        """Make pairs, known as `kind`."""
        ...


def with_identifiers(driver: Driver, server: Server, kind: str, size: int, pairs: int) -> None:
    """Make pairs of profiles with `size` identifiers each."""
    for user in _users(kind):
        for items in _chunks(range(1, size), BATCH):
            _make(driver, server, "BatchAlias", _batch(user, items, v1.MERGE_POLICY_NEVER), pairs)


def with_tombstones(driver: Driver, server: Server, kind: str, size: int, pairs: int) -> None:
    """Make pairs of profiles with `size` tombstones each, which had an identifier each."""
    for user in _users(kind):
        known = v1.IdentifyRequest(aliases_to_identify=[v1.AliasToIdentify(external_id=user)])
        _make(driver, server, "Identify", known, pairs)
        for items in _chunks(range(size), ITEMS):
            anonymous = [v1.NewUserAlias(anonymous_id=f"{user}-{item}") for item in items]
            _make(driver, server, "CreateAliases", v1.CreateAliasesRequest(user_aliases=anonymous), pairs)
        for items in _chunks(range(size), BATCH):
            _make(driver, server, "BatchAlias", _batch(user, items, v1.MERGE_POLICY_ANONYMOUS), pairs)


def new_pairs(driver: Driver, server: Server, kind: str, pairs: int) -> None:
    """Make pairs of profiles with an identifier each, or a few more of them."""
    numbers = [Number(base=item, step=ITEMS // 2) for item in range(ITEMS // 2)]
    users = [f"{kind}-{side}-{mark(item)}" for item in range(len(numbers)) for side in ("left", "right")]
    message = v1.IdentifyRequest(aliases_to_identify=[v1.AliasToIdentify(external_id=user) for user in users])
    made = tried(server, driver.key, "Identify", message, numbers, no_item_failed)
    driver.run(server, made, callers=_CALLERS, seconds=60.0, most=math.ceil(pairs / len(numbers)))


def merge(driver: Driver, server: Server, kind: str) -> Calls:
    """Alias of one profile of a pair to the other."""
    user, alias = _users(kind)
    message = v1.AliasRequest(user_id=user, alias_id=alias, merge_policy=v1.MERGE_POLICY_ALWAYS)
    return tried(server, driver.key, "Alias", message, [Number()], lambda answer: answer.outcome == v1.OUTCOME_MERGED)


def merge_many(driver: Driver, server: Server, kind: str) -> Calls:
    """BatchAlias of `ITEMS` such merges. The first batch is made here."""

    def batch(number: Callable[[int], str]) -> v1.BatchAliasRequest:
        pairs = ((f"{kind}-left-{number(item)}", f"{kind}-right-{number(item)}") for item in range(ITEMS))
        requests = [
            v1.AliasRequest(user_id=left, alias_id=right, merge_policy=v1.MERGE_POLICY_ALWAYS) for left, right in pairs
        ]
        return v1.BatchAliasRequest(requests=requests)

    first = tried(server, driver.key, "BatchAlias", batch(lambda item: f"{item:08}"), [], no_item_failed)
    numbers = [Number(base=item, step=ITEMS) for item in range(ITEMS)]
    return Calls(first.path, batch(mark).SerializeToString(), numbers, first.answer_size, made=1)


def alias_to(driver: Driver, server: Server, kind: str) -> Calls:
    """Alias of a new id to the left profile of pair 0."""
    message = v1.AliasRequest(user_id=f"{kind}-left-{0:08}", alias_id=f"{kind}-new-{mark(0)}")
    return tried(server, driver.key, "Alias", message, [Number()], lambda answer: answer.outcome == v1.OUTCOME_LINKED)


def _users(kind: str) -> tuple[str, str]:
    return f"{kind}-left-{mark(0)}", f"{kind}-right-{mark(0)}"


def _batch(user: str, items: range, policy: v1.MergePolicy.ValueType) -> v1.BatchAliasRequest:
    requests = [
        v1.AliasRequest(user_id=user, alias_id=f"{user}-{item}", merge_policy=policy, create_missing=True)
        for item in items
    ]
    return v1.BatchAliasRequest(requests=requests)


def _make(driver: Driver, server: Server, method: str, message: Message, pairs: int) -> None:
    calls = tried(server, driver.key, method, message, [Number()], no_item_failed)
    driver.run(server, calls, callers=_CALLERS, seconds=60.0, most=pairs)


def _chunks(items: range, size: int) -> Iterator[range]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
