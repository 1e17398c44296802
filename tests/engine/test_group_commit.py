import asyncio
from collections.abc import Sequence

import pytest

from posthorn.engine.groupcommit import GroupCommit
from posthorn.errors import Overloaded, StoreUnavailable

A_LONG_TIME_SECONDS = 3600


class Commits:
    """Remembers its batches. While `gate` is closed, commits wait; what is in `refused` fails its batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refused: set[int] = set()
        self.running = 0
        self.most_running = 0

    async def __call__(self, items: Sequence[int]) -> list[str]:
        self.batches.append(list(items))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.refused.intersection(items):
            raise StoreUnavailable("the disk is full")
        return [f"done {item}" for item in items]


def a_group(
    commits: Commits, *, linger_seconds: float = 0, most: int = 100, backlog: int = 1000, lanes: int = 1
) -> GroupCommit[int, str]:
    return GroupCommit(commits, linger_seconds=linger_seconds, most=most, backlog=backlog, lanes=lanes)


async def test_items_that_arrive_together_share_a_commit_and_each_caller_gets_its_result() -> None:
    commits = Commits()
    group = a_group(commits)
    results = await asyncio.gather(*(group.submit(item) for item in range(5)))
    assert results == [f"done {item}" for item in range(5)]
    assert commits.batches == [[0, 1, 2, 3, 4]]


async def test_a_lone_item_is_committed_once_it_lingered() -> None:
    commits = Commits()
    assert await a_group(commits, linger_seconds=0.001).submit(7) == "done 7"


async def test_a_full_batch_does_not_linger() -> None:
    commits = Commits()
    group = a_group(commits, linger_seconds=A_LONG_TIME_SECONDS, most=3)
    assert await asyncio.gather(*(group.submit(item) for item in range(3))) == ["done 0", "done 1", "done 2"]


async def test_no_batch_is_larger_than_most() -> None:
    commits = Commits()
    group = a_group(commits, most=3)
    await asyncio.gather(*(group.submit(item) for item in range(8)))
    assert commits.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_while_a_batch_commits_the_next_one_gathers() -> None:
    commits = Commits()
    commits.gate.clear()
    group = a_group(commits, most=2)
    futures = [group.submit(item) for item in range(2)]
    await asyncio.sleep(0)
    futures += [group.submit(9), group.submit(10)]
    await asyncio.sleep(0)
    assert commits.batches == [[0, 1]]
    assert group.waiting == 2
    commits.gate.set()
    assert await asyncio.gather(*futures) == ["done 0", "done 1", "done 9", "done 10"]
    assert commits.batches == [[0, 1], [9, 10]]
    assert commits.most_running == 1


async def test_items_that_gathered_behind_a_commit_go_on_without_lingering() -> None:
    commits = Commits()
    commits.gate.clear()
    group = a_group(commits, linger_seconds=A_LONG_TIME_SECONDS, most=2)
    first = [group.submit(0), group.submit(1)]
    late = group.submit(2)
    commits.gate.set()
    await asyncio.gather(*first)
    assert await late == "done 2"


async def test_several_lanes_commit_at_the_same_time() -> None:
    commits = Commits()
    commits.gate.clear()
    group = a_group(commits, most=1, lanes=2)
    futures = [group.submit(item) for item in range(3)]
    await asyncio.sleep(0)
    assert commits.batches == [[0], [1]]
    commits.gate.set()
    await asyncio.gather(*futures)
    assert commits.most_running == 2
    assert commits.batches[2] == [2]


async def test_more_than_the_backlog_is_refused_at_once() -> None:
    commits = Commits()
    commits.gate.clear()
    group = a_group(commits, most=1, backlog=2)
    futures = [group.submit(item) for item in range(3)]
    with pytest.raises(Overloaded) as refused:
        group.submit(3)
    assert refused.value.retry_after_seconds >= 1
    commits.gate.set()
    assert await asyncio.gather(*futures) == ["done 0", "done 1", "done 2"]
    assert await group.submit(4) == "done 4"


async def test_a_failed_commit_fails_its_own_callers_only() -> None:
    commits = Commits()
    commits.refused = {1}
    group = a_group(commits, most=2)
    results = await asyncio.gather(*(group.submit(item) for item in range(4)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable, str, str]


async def test_a_caller_that_went_away_does_not_disturb_the_others() -> None:
    commits = Commits()
    commits.gate.clear()
    group = a_group(commits, most=2)
    gone, stays = group.submit(0), group.submit(1)
    gone.cancel()
    commits.gate.set()
    assert await stays == "done 1"
    assert commits.batches == [[0, 1]]


async def test_drain_commits_what_waits_and_returns_when_nothing_is_left() -> None:
    commits = Commits()
    group = a_group(commits, linger_seconds=A_LONG_TIME_SECONDS, most=2)
    futures = [group.submit(item) for item in range(5)]
    await group.drain()
    assert group.waiting == 0
    assert [future.result() for future in futures] == [f"done {item}" for item in range(5)]


async def test_drain_of_nothing_returns_at_once() -> None:
    commits = Commits()
    await a_group(commits).drain()
    assert commits.batches == []


async def test_a_group_works_on_after_it_was_drained() -> None:
    commits = Commits()
    group = a_group(commits)
    group.submit(0)
    await group.drain()
    assert await group.submit(1) == "done 1"
