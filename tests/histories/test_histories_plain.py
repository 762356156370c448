"""The search says what plainly trying every order says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

from tests.grpc.wire import KEY, serving
from tests.histories.callers import Callers, Hot
from tests.histories.operations import Operation, shown
from tests.histories.search import NotLinearizable, assert_linearizable, telling
from tests.histories.worlds import World, asked

MOST = 1000


async def test_the_search_finds_an_order_where_there_is_one_and_only_there(
    tmp_path: Path, random: Random, long: bool
) -> None:
    verdicts: Counter[bool] = Counter()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path / "aka.db"))
        callers = await stack.enter_async_context(Callers([server.address], KEY, random, number=4))
        for number in range(2000 if long else 40):
            real = await callers.history([Hot(f"h{number}", random, ids=3)], random.randint(5, 9))
            for history in _distorted(real, random):
                expected = _has_order(history, frozenset(), World.empty(MOST), {})
                verdicts[expected] += 1
                assert _is_found(history) == expected, shown(history)
    assert len(verdicts) == 2, "all were alike"


def _distorted(real: Sequence[Operation], random: Random) -> Iterator[list[Operation]]:
    """Return a history with other times, other answers, and less that is known; what it tells may be impossible."""
    for _ in range(5):
        history = telling(real)
        for at, each in enumerate(history):
            began = random.randint(2 * at - 6, 2 * at)
            history[at] = replace(each, began=began, ended=random.randint(began + 1, 2 * at + 6))
            if random.random() < 0.25 and each.method not in ("Resolve", "GetProfile"):
                history[at] = replace(history[at], answer=None)
        one, other = random.sample(range(len(history)), 2)
        if history[one].method == history[other].method:
            answers = history[other].answer, history[one].answer
            for at, answer in zip((one, other), answers, strict=True):
                history[at] = replace(history[at], answer=answer)
        yield history


def _is_found(history: Sequence[Operation]) -> bool:
    try:
        assert_linearizable(history, most=MOST)
    except NotLinearizable:
        return False
    return True


def _has_order(
    history: Sequence[Operation], done: frozenset[Operation], world: World, known: dict[object, bool]
) -> bool:
    """Try each operation that may be the next, and then the others."""
    left = [each for each in history if each not in done]
    if all(each.answer is None for each in left):
        return True
    state = done, world.key
    if state not in known:
        first_end = min(each.ended for each in left if each.answer is not None)
        known[state] = any(
            _has_order(history, done | {each}, after, known)
            for each in left
            if each.began <= first_end and (after := world.after(asked(each))) is not None
        )
    return known[state]
