"""Group commit: who is taken when, with whom, and who is refused."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import pytest

from aka.server.errors import AkaError
from aka.server.store.group import BULK, ENOUGH, IN_COMPANY, MAX_DECISIONS, MAX_KEYS, MAX_WAITING, Grouped
from aka.server.store.store import store_unavailable


class Desk:
    """Does groups of named pieces of work, and keeps what it was given. While it is held no group ends."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.started = asyncio.Event()
        self.failures: dict[str, Exception] = {}
        """What a piece raises, alone or in a group."""
        self.takes: dict[str, float] = {}
        """How far a piece moves the clock."""
        self.grouped: Grouped[str, str] = Grouped(self._run)
        self.free = asyncio.Event()
        self.free.set()

    async def _run(self, group: Sequence[str]) -> Sequence[str | Exception]:
        self.groups.append(list(group))
        self.started.set()
        await self.free.wait()
        for name in group:
            if name in self.takes:
                asyncio.get_running_loop().time.advance(self.takes[name])  # type: ignore[attr-defined]
            if name in self.failures:
                raise self.failures[name]
        return [ValueError(name) if name == "refused" else f"{name} done" for name in group]

    def ask(
        self, name: str, decisions: int = 1, *, keys: int = 1, deadline: float | None = None
    ) -> "asyncio.Task[str]":
        """Submit a piece of work in the order of asking."""
        return asyncio.ensure_future(self.grouped.submit(name, decisions=decisions, keys=keys, deadline=deadline))

    async def hold(self) -> "asyncio.Task[str]":
        """Begin a group, so that what is asked for next waits together for the next."""
        self.free.clear()
        self.started.clear()
        held = self.ask("held")
        await self.started.wait()
        self.groups.clear()
        return held

    def release(self) -> None:
        """Let the groups go on."""
        self.free.set()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    desk.release()
    await desk.grouped.close()


class Time:
    """A loop's clock that only the tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", time)
    return time


def at_once(submitted: Coroutine[Any, Any, str]) -> AkaError:
    """Return what work is refused with before anything else can happen."""
    try:
        submitted.send(None)
    except AkaError as refusal:
        return refusal
    finally:
        submitted.close()
    raise AssertionError("it waits")


async def refusal(task: "asyncio.Task[str]") -> str:
    """Return the reason that work gets refused for."""
    with pytest.raises(AkaError) as refused:
        await task
    return refused.value.name


# Groups.


async def test_what_waits_is_done_together(desk: Desk) -> None:
    await asyncio.gather(*(desk.ask(name) for name in "abc"))
    assert desk.groups == [["a", "b", "c"]]


async def test_each_piece_gets_its_own_result(desk: Desk) -> None:
    assert await asyncio.gather(*(desk.ask(name) for name in "abc")) == ["a done", "b done", "c done"]


async def test_what_comes_while_a_group_is_done_waits_for_the_next(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask(name) for name in "abc"]
    await asyncio.sleep(0)
    assert desk.groups == []
    desk.release()
    await asyncio.gather(*asked)
    assert desk.groups == [["a", "b", "c"]]


async def turns(number: int) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def in_company(desk: Desk) -> None:
    """Have a group of two done, after which the next waits for more."""
    await asyncio.gather(desk.ask("first"), desk.ask("second"))
    assert desk.groups == [["first", "second"]]
    desk.groups.clear()


async def test_after_a_group_of_several_the_next_waits_for_more(desk: Desk) -> None:
    await in_company(desk)
    asked = [desk.ask("a")]
    await turns(IN_COMPANY - 2)
    asked.append(desk.ask("b"))
    await turns(IN_COMPANY - 2)
    asked.append(desk.ask("c"))
    await asyncio.gather(*asked)
    assert desk.groups == [["a", "b", "c"]]


async def test_after_a_group_of_one_the_next_does_not_wait_for_more(desk: Desk) -> None:
    await desk.ask("first")
    desk.groups.clear()
    asked = [desk.ask("a")]
    await turns(IN_COMPANY - 2)
    asked.append(desk.ask("b"))
    await asyncio.gather(*asked)
    assert desk.groups == [["a"], ["b"]]


async def test_the_wait_for_more_ends_when_nobody_comes(desk: Desk) -> None:
    await in_company(desk)
    asked = [desk.ask("a")]
    await turns(IN_COMPANY + 10)
    asked.append(desk.ask("b"))
    await asyncio.gather(*asked)
    assert desk.groups == [["a"], ["b"]]


async def test_the_wait_for_more_ends_when_enough_wait(desk: Desk) -> None:
    await in_company(desk)
    asked = [desk.ask(str(number)) for number in range(ENOUGH)]
    await turns(IN_COMPANY - 2)
    asked.append(desk.ask("one more"))
    await asyncio.gather(*asked)
    assert list(map(len, desk.groups)) == [ENOUGH, 1]


async def test_a_group_has_at_most_512_decisions(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask(str(number), 8) for number in range(64)] + [desk.ask("one more")]
    desk.release()
    await asyncio.gather(*asked)
    assert list(map(len, desk.groups)) == [64, 1]


async def test_a_group_has_at_most_4096_keys(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask(str(number), keys=1024) for number in range(4)] + [desk.ask("one more")]
    desk.release()
    await asyncio.gather(*asked)
    assert list(map(len, desk.groups)) == [4, 1]


async def test_work_that_is_larger_than_a_group_is_done_alone(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("large", MAX_DECISIONS + 1), desk.ask("wide", BULK + 1, keys=MAX_KEYS + 1), desk.ask("next", 11)]
    desk.release()
    await asyncio.gather(*asked)
    assert desk.groups == [["large"], ["wide"], ["next"]]


async def test_the_oldest_are_taken_first(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask(str(number)) for number in range(1200)]
    desk.release()
    await asyncio.gather(*asked)
    assert [name for group in desk.groups for name in group] == [str(number) for number in range(1200)]


async def test_a_piece_that_does_not_fit_is_not_overtaken(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("first", keys=4000), desk.ask("second", keys=200), desk.ask("third", keys=50)]
    desk.release()
    await asyncio.gather(*asked)
    assert desk.groups == [["first"], ["second", "third"]]


# Two lanes.


async def test_bulk_gets_a_quarter_of_a_group_while_calls_wait(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("bulk", 16) for _ in range(60)] + [desk.ask("call") for _ in range(800)]
    desk.release()
    await asyncio.gather(*asked)
    assert [(group.count("bulk") * 16, group.count("call")) for group in desk.groups[:2]] == [(128, 384), (128, 384)]


async def test_bulk_gets_whole_groups_while_no_call_waits(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("bulk", 16) for _ in range(60)]
    desk.release()
    await asyncio.gather(*asked)
    assert list(map(len, desk.groups)) == [32, 28]


async def test_what_bulk_leaves_of_its_quarter_the_calls_get(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("bulk", 12)] + [desk.ask("call") for _ in range(600)]
    desk.release()
    await asyncio.gather(*asked)
    assert (desk.groups[0].count("bulk"), desk.groups[0].count("call")) == (1, 500)


async def test_what_the_calls_leave_of_a_group_bulk_gets(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("bulk", 16) for _ in range(60)] + [desk.ask("call") for _ in range(12)]
    desk.release()
    await asyncio.gather(*asked)
    assert (desk.groups[0].count("bulk"), desk.groups[0].count("call")) == (31, 12)


async def test_bulk_does_not_wait_for_ever_while_calls_keep_coming(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("call") for _ in range(2000)] + [desk.ask("bulk", 100)]
    desk.release()
    await asyncio.gather(*asked)
    assert "bulk" in desk.groups[0]


@pytest.mark.parametrize("decisions", [200, 512, 1000])
async def test_calls_do_not_wait_while_bulk_that_exceeds_its_quarter_keeps_coming(desk: Desk, decisions: int) -> None:
    await desk.hold()
    asked = [desk.ask("bulk", decisions) for _ in range(3)] + [desk.ask("call") for _ in range(20)]
    desk.release()
    await asyncio.gather(*asked)
    assert desk.groups[0].count("call") == 20


async def test_ten_decisions_are_a_call_and_eleven_are_bulk(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask("bulk", BULK + 1) for _ in range(40)] + [desk.ask("call", BULK) for _ in range(30)]
    desk.release()
    await asyncio.gather(*asked)
    assert desk.groups[0][:11] == ["bulk"] * 11
    assert desk.groups[0].count("call") == 30


# Too much, too late, gone.


async def test_the_4096th_decision_waits_and_the_next_is_refused_at_once(desk: Desk) -> None:
    await desk.hold()
    asked = [desk.ask(str(number)) for number in range(4096)]
    await asyncio.sleep(0)
    assert desk.grouped.waiting == 4096
    assert at_once(desk.grouped.submit("late", decisions=1, keys=1, deadline=None)).name == "OVERLOADED"
    desk.release()
    await asyncio.gather(*asked)
    assert desk.grouped.waiting == 0


async def test_a_piece_that_would_exceed_what_may_wait_is_refused_whole(desk: Desk) -> None:
    await desk.hold()
    waiting = desk.ask("bulk", MAX_WAITING - 10)
    await asyncio.sleep(0)
    assert at_once(desk.grouped.submit("late", decisions=11, keys=1, deadline=None)).name == "OVERLOADED"
    fits = desk.ask("fits", 10)
    desk.release()
    await asyncio.gather(waiting, fits)


async def test_work_is_taken_again_once_less_waits(desk: Desk) -> None:
    await desk.hold()
    waiting = desk.ask("bulk", MAX_WAITING)
    await asyncio.sleep(0)
    assert at_once(desk.grouped.submit("late", decisions=1, keys=1, deadline=None)).name == "OVERLOADED"
    desk.release()
    await waiting
    assert await desk.ask("later") == "later done"


async def test_a_refusal_for_load_says_when_to_come_again(desk: Desk) -> None:
    await desk.hold()
    waiting = desk.ask("bulk", MAX_WAITING)
    await asyncio.sleep(0)
    refused = at_once(desk.grouped.submit("late", decisions=1, keys=1, deadline=None))
    assert refused.retry_after == 1.0
    assert refused.metadata == {"waiting": str(MAX_WAITING)}
    desk.release()
    await waiting


async def test_a_deadline_that_the_groups_ahead_would_pass_is_refused_at_once(desk: Desk, time: Time) -> None:
    desk.takes["slow"] = 8.0  # the pace of groups is taken to be an eighth of that
    await desk.ask("slow")
    held = await desk.hold()
    ahead = desk.ask("ahead", MAX_DECISIONS)
    await asyncio.sleep(0)
    submitted = desk.grouped.submit("hopeless", decisions=1, keys=1, deadline=time.now + 0.9)
    assert at_once(submitted).name == "OVERLOADED"
    in_time = desk.ask("in time", deadline=time.now + 1.1)
    desk.release()
    await asyncio.gather(held, ahead)
    assert await in_time == "in time done"


async def test_a_deadline_in_sight_is_taken_where_nothing_waits(desk: Desk, time: Time) -> None:
    desk.takes["slow"] = 8.0
    await desk.ask("slow")
    assert await desk.ask("short", deadline=time.now + 0.1) == "short done"


async def test_work_whose_deadline_passes_before_its_turn_is_not_done(desk: Desk, time: Time) -> None:
    held = await desk.hold()
    late, patient = desk.ask("late", deadline=time.now + 1), desk.ask("patient", deadline=time.now + 3)
    await asyncio.sleep(0)
    time.advance(2)
    desk.release()
    assert await refusal(late) == "DEADLINE"
    assert await patient == "patient done"
    assert desk.groups == [["patient"]]
    await held


async def test_work_whose_deadline_passes_during_its_turn_is_answered(desk: Desk, time: Time) -> None:
    desk.takes["slow"] = 5.0
    assert await desk.ask("slow", deadline=time.now + 1) == "slow done"


async def test_work_whose_caller_goes_before_its_turn_is_not_done(desk: Desk) -> None:
    held = await desk.hold()
    gone, stays = desk.ask("gone"), desk.ask("stays")
    await asyncio.sleep(0)
    gone.cancel()
    desk.release()
    await asyncio.gather(held, stays)
    assert desk.groups == [["stays"]]


async def test_work_whose_caller_goes_during_its_turn_is_done(desk: Desk) -> None:
    gone = await desk.hold()
    beside = desk.ask("beside")
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    desk.release()
    assert await beside == "beside done"


async def test_a_caller_that_goes_takes_nothing_from_those_in_its_group(desk: Desk) -> None:
    held = await desk.hold()
    asked = [desk.ask(name) for name in ("first", "gone", "last")]
    desk.release()
    desk.started.clear()
    desk.free.clear()
    await held
    await desk.started.wait()
    asked[1].cancel()
    desk.release()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert desk.groups == [["first", "gone", "last"]]
    assert (results[0], results[2]) == ("first done", "last done")


async def test_a_group_that_all_callers_have_left_is_not_begun(desk: Desk) -> None:
    held = await desk.hold()
    asked = [desk.ask(name) for name in "abc"]
    await asyncio.sleep(0)
    for task in asked:
        task.cancel()
    desk.release()
    await held
    assert await desk.ask("next") == "next done"
    assert desk.groups == [["next"]]


# Failures.


async def test_a_group_with_a_bug_in_it_is_done_again_one_by_one(desk: Desk) -> None:
    desk.failures["culprit"] = ZeroDivisionError()
    asked = [desk.ask(name) for name in ("a", "culprit", "b")]
    await asyncio.gather(*asked, return_exceptions=True)
    assert desk.groups == [["a", "culprit", "b"], ["a"], ["culprit"], ["b"]]
    assert (desk.grouped.measure().retries, desk.grouped.measure().group_sizes.total) == (3, 3)


async def test_a_bug_fails_the_culprit_alone(desk: Desk) -> None:
    bug = desk.failures["culprit"] = ZeroDivisionError()
    asked = [desk.ask(name) for name in ("a", "culprit", "b")]
    assert await asyncio.gather(*asked, return_exceptions=True) == ["a done", bug, "b done"]


async def test_an_error_of_the_store_is_everybodys(desk: Desk) -> None:
    desk.failures["b"] = store_unavailable("gone")
    asked = [desk.ask(name) for name in "abc"]
    assert [await refusal(task) for task in asked] == ["STORE_UNAVAILABLE"] * 3


async def test_a_group_that_the_store_failed_is_not_done_again(desk: Desk) -> None:
    desk.failures["b"] = store_unavailable("gone")
    await asyncio.gather(*(desk.ask(name) for name in "abc"), return_exceptions=True)
    assert desk.groups == [["a", "b", "c"]]


async def test_an_error_of_the_store_during_the_second_try_is_one_pieces_own(desk: Desk) -> None:
    desk.failures = {"culprit": ZeroDivisionError(), "b": store_unavailable("gone")}
    asked = [desk.ask(name) for name in ("a", "culprit", "b", "c")]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert (results[0], results[3]) == ("a done", "c done")
    assert await refusal(asked[2]) == "STORE_UNAVAILABLE"


async def test_an_error_among_the_results_is_its_pieces_answer(desk: Desk) -> None:
    asked = [desk.ask(name) for name in ("a", "refused", "b")]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert (results[0], results[2]) == ("a done", "b done")
    assert isinstance(results[1], ValueError)
    assert len(desk.groups) == 1


async def test_the_next_group_is_done_after_one_that_failed(desk: Desk) -> None:
    desk.failures["a"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await desk.ask("a")
    assert await desk.ask("b") == "b done"


# The end.


async def test_closing_finishes_what_waits(desk: Desk) -> None:
    held = await desk.hold()
    asked = [desk.ask(str(number)) for number in range(1200)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(desk.grouped.close())
    await asyncio.sleep(0)
    assert not closing.done()
    desk.release()
    await closing
    assert all(task.done() for task in (held, *asked))


async def test_nothing_is_taken_while_it_closes(desk: Desk) -> None:
    held = await desk.hold()
    closing = asyncio.ensure_future(desk.grouped.close())
    await asyncio.sleep(0)
    late = desk.grouped.submit("late", decisions=1, keys=1, deadline=None)
    assert at_once(late).name == "STORE_UNAVAILABLE"
    desk.release()
    await asyncio.gather(held, closing)


async def test_nothing_is_taken_once_it_is_closed(desk: Desk) -> None:
    await desk.grouped.close()
    assert await refusal(desk.ask("late")) == "STORE_UNAVAILABLE"


async def test_closing_again_does_nothing(desk: Desk) -> None:
    await asyncio.gather(desk.grouped.close(), desk.grouped.close())
    await desk.grouped.close()


async def test_who_gives_up_closing_does_not_break_off_the_work(desk: Desk) -> None:
    held = await desk.hold()
    asked = [desk.ask(name) for name in "abc"]
    closing = asyncio.ensure_future(desk.grouped.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    desk.release()
    assert await asyncio.gather(held, *asked) == ["held done", "a done", "b done", "c done"]
