"""Deadlines in process: each ends what it is for, and nothing else, though one timer serves them all."""

import asyncio

import pytest

from aka.server.deadlines import Deadline, Deadlines

SOON = 0.02
NEVER = 3600.0


async def wait(deadlines: Deadlines, seconds: float | None) -> str:
    """Wait for nothing until so many seconds have passed; say how that ended."""
    when = None if seconds is None else asyncio.get_running_loop().time() + seconds
    try:
        with Deadline(deadlines, when):
            await asyncio.Event().wait()
    except TimeoutError:
        return "too late"
    return "done"


async def test_what_takes_longer_ends() -> None:
    assert await wait(Deadlines(), SOON) == "too late"


async def test_what_has_ended_is_let_be() -> None:
    deadlines = Deadlines()
    with Deadline(deadlines, asyncio.get_running_loop().time() + SOON):
        pass
    assert await wait(deadlines, 2 * SOON) == "too late"  # by when the first has passed
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


@pytest.mark.parametrize("times", [(SOON, NEVER), (NEVER, SOON), (None, SOON), (SOON, None)])
async def test_each_ends_at_its_own_time(times: tuple[float | None, ...]) -> None:
    deadlines = Deadlines()
    tasks = {asyncio.create_task(wait(deadlines, seconds)): seconds for seconds in times}
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [(tasks[task], task.result()) for task in done] == [(SOON, "too late")]
    for task in others:
        task.cancel()


async def test_one_after_another_ends() -> None:
    deadlines = Deadlines()
    times = [SOON * place for place in (3, 1, 2, 0)]
    assert await asyncio.gather(*(wait(deadlines, seconds) for seconds in times)) == ["too late"] * 4
    assert await wait(deadlines, SOON) == "too late"  # when no timer is left over


async def test_who_is_cancelled_by_another_is_not_told_that_it_is_late() -> None:
    task = asyncio.create_task(wait(Deadlines(), NEVER))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_late_and_cancelled_by_another_stays_cancelled() -> None:
    async def late(deadline: Deadline) -> None:
        with deadline:
            await asyncio.Event().wait()

    deadline = Deadline(Deadlines(), None)
    task = asyncio.create_task(late(deadline))
    await asyncio.sleep(0)
    deadline.pass_()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_ones_own_is_no_deadline() -> None:
    deadlines = Deadlines()
    with pytest.raises(KeyError), Deadline(deadlines, asyncio.get_running_loop().time() + SOON):
        raise KeyError
