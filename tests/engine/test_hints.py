import asyncio

from posthorn.engine.hints import Hints

A_LONG_TIME_SECONDS = 3600


async def test_lanes_are_collected_once_each_with_its_oldest_due() -> None:
    hints = Hints()
    hints.add([(1, "ep_a"), (2, "ep_b")], due_ms=20)
    hints.add([(1, "ep_a")], due_ms=10)
    hints.add(iter([(2, "ep_b")]), due_ms=30)
    assert hints.collect() == {(1, "ep_a"): 10, (2, "ep_b"): 20}
    assert hints.collect() == {}


async def test_a_hint_wakes_the_loop_that_waits() -> None:
    hints = Hints()
    waiting = asyncio.ensure_future(hints.wait(A_LONG_TIME_SECONDS))
    await asyncio.sleep(0)
    assert not waiting.done()
    hints.add([(1, "ep_a")], due_ms=10)
    await waiting
    assert hints.collect() == {(1, "ep_a"): 10}


async def test_a_wake_names_no_lane() -> None:
    hints = Hints()
    hints.wake()
    await hints.wait(A_LONG_TIME_SECONDS)
    assert hints.collect() == {}


async def test_a_hint_before_the_wait_is_not_lost() -> None:
    hints = Hints()
    hints.add([(1, "ep_a")], due_ms=10)
    await hints.wait(A_LONG_TIME_SECONDS)


async def test_one_hint_ends_one_wait() -> None:
    hints = Hints()
    hints.wake()
    await hints.wait(A_LONG_TIME_SECONDS)
    waiting = asyncio.ensure_future(hints.wait(A_LONG_TIME_SECONDS))
    await asyncio.sleep(0)
    assert not waiting.done()
    hints.wake()
    await waiting


async def test_a_wait_without_hints_ends_by_itself() -> None:
    hints = Hints()
    await hints.wait(0.001)
    assert hints.collect() == {}


async def test_a_wait_that_was_cancelled_leaves_later_hints_working() -> None:
    hints = Hints()
    waiting = asyncio.ensure_future(hints.wait(A_LONG_TIME_SECONDS))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hints.add([(1, "ep_a")], due_ms=10)
    await hints.wait(A_LONG_TIME_SECONDS)
    assert hints.collect() == {(1, "ep_a"): 10}
