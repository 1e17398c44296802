"""A write whose answer is lost is done once and reported as it is, whichever part of it got lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from answer_thief import AnswerThief, Theft
from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.journal import AttemptQuery, DecisionQuery, EventQuery, RequestQuery
from posthorn.engine.records import AlreadyClaimed, Appended
from posthorn.engine.resources import Kind
from posthorn.errors import StoreUnavailable
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Patience
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.world import NODE, OTHER_NODE, World
from posthorn.testing.factories import WORKSPACE, a_claim, a_decision, a_delivery, a_unit, an_inbox_unit

THEFTS = list(Theft)
BATCH = b"batch_"  # in the message that carries the one statement of a batch
COMMIT = b"COMMIT"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def thief(postgres18_dsn: str) -> AsyncIterator[AnswerThief]:
    async with AnswerThief(postgres18_dsn).listening() as thief:
        yield thief


@pytest.fixture
async def world(thief: AnswerThief, clock: ManualClock) -> AsyncIterator[World]:
    store = await PostgresStore.open(thief.dsn, clock, patience=Patience(hot_try_seconds=0.5))
    world = World(store, clock)
    await world.own()
    yield world
    await store.close()


async def _events(world: World) -> list[str]:
    page = await world.store.events(EventQuery(workspace=WORKSPACE, limit=1000, ascending=True))
    return [event.id for event in page.rows]


@pytest.mark.parametrize("theft", THEFTS)
async def test_units_whose_answer_is_lost_are_committed_once(world: World, thief: AnswerThief, theft: Theft) -> None:
    events = [world.event(), world.event()]
    thief.steal(BATCH, theft)
    results = await world.append(*(a_unit(event, claims=(a_claim(key=event.id),)) for event in events))
    assert results == [Appended(), Appended()]
    assert thief.stolen == 1
    assert await _events(world) == [event.id for event in events]
    assert len(await world.due()) == 2


@pytest.mark.parametrize("theft", THEFTS)
async def test_an_answer_that_is_lost_again_and_again_is_found_out_in_the_end(
    world: World, thief: AnswerThief, theft: Theft
) -> None:
    event = world.event()
    for mark in (BATCH, COMMIT, COMMIT, BATCH):
        thief.steal(mark, theft)
    assert await world.append(a_unit(event, claims=(a_claim(),))) == [Appended()]
    assert thief.stolen == 4
    assert await _events(world) == [event.id]


@pytest.mark.parametrize("theft", THEFTS)
async def test_what_was_refused_by_a_try_whose_answer_is_lost_is_told_all_the_same(
    world: World, thief: AnswerThief, theft: Theft
) -> None:
    first = world.event()
    await world.append(a_unit(first, claims=(a_claim(key="taken", event=first.id, answer_body=b"first"),)))
    repeat = an_inbox_unit(
        received_ms=world.later(), claims=(a_claim(key="free"), a_claim(key="taken", fingerprint=b"another"))
    )
    fresh = world.event()
    thief.steal(BATCH, theft)
    results = await world.append(repeat, a_unit(fresh, claims=(a_claim(key="fresh"),)))
    refused = AlreadyClaimed(
        scope=a_claim().scope,
        same_request=False,
        answer_status=a_claim().answer_status,
        answer_body=b"first",
        event=first.id,
    )
    assert results == [refused, Appended()]
    assert thief.stolen == 1
    assert await _events(world) == [first.id, fresh.id]
    assert len((await world.store.requests(RequestQuery(workspace=WORKSPACE))).rows) == 1


@pytest.mark.parametrize("theft", THEFTS)
async def test_units_that_want_the_same_claim_are_committed_once_when_the_commits_answer_is_lost(
    world: World, thief: AnswerThief, theft: Theft
) -> None:
    events = [world.event() for _ in range(3)]
    thief.steal(COMMIT, theft)
    results = await world.append(*(a_unit(event, claims=(a_claim(event=event.id),)) for event in events))
    assert [type(result) for result in results] == [Appended, AlreadyClaimed, AlreadyClaimed]
    assert [result.event for result in results if isinstance(result, AlreadyClaimed)] == [events[0].id] * 2
    assert thief.stolen == 1
    assert await _events(world) == [events[0].id]


@pytest.mark.parametrize("theft", THEFTS)
async def test_outcomes_whose_answer_is_lost_are_reported_as_our_own(
    world: World, thief: AnswerThief, theft: Theft
) -> None:
    await world.publish()
    await world.publish()
    await world.publish()
    delivered, lost, failed = await world.due()
    stale = replace(world.delivered(lost), epoch=0)
    thief.steal(BATCH, theft)
    settled = await world.settle(world.delivered(delivered), stale, world.failed(failed, retry_in_ms=5000))
    assert settled == [True, False, True]
    assert thief.stolen == 1
    assert len((await world.store.attempts(AttemptQuery(workspace=WORKSPACE))).rows) == 2
    world.later(5)
    assert [(work.id, work.attempts) for work in await world.due()] == [(lost.id, 0), (failed.id, 1)]


async def test_an_outcome_of_another_node_is_not_taken_for_our_own(
    world: World, thief: AnswerThief, postgres18_dsn: str, clock: ManualClock
) -> None:
    work = await world.publish_and_take()
    other = await PostgresStore.open(postgres18_dsn, clock)
    assert await other.settle([world.delivered(work)]) == [True]
    thief.steal(BATCH, Theft.CUT)
    assert await world.settle(world.delivered(work)) == [False]
    await other.close()


@pytest.mark.parametrize("theft", THEFTS)
async def test_decisions_whose_answer_is_lost_count_once(world: World, thief: AnswerThief, theft: Theft) -> None:
    profile = f"{WORKSPACE}/user/ann"
    await world.append(a_unit(world.event(), deliveries=(), profile=profile))
    (work,) = await world.undecided()
    decided = world.decided(work, decisions=(a_decision(work),), deliveries=(a_delivery(work.event),), count=True)
    thief.steal(BATCH, theft)
    assert await world.store.settle_decisions([decided]) == [True]
    assert thief.stolen == 1
    assert [count.count for count in await world.store.event_counts(profile)] == [1]
    assert len((await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows) == 1
    assert len(await world.due()) == 1


@pytest.mark.parametrize("theft", THEFTS)
async def test_a_cancellation_whose_answer_is_lost_is_told_as_done(
    world: World, thief: AnswerThief, theft: Theft
) -> None:
    work = await world.publish_and_take()
    thief.steal(COMMIT, theft)
    assert await world.store.cancel(work.id, "by_hand") is True
    assert await world.store.cancel(work.id, "by_hand") is False
    assert thief.stolen == 1


async def test_leases_whose_answer_is_lost_keep_the_epoch_that_they_won(world: World, thief: AnswerThief) -> None:
    await world.store.release(NODE, Stage.DELIVER)
    now_ms = world.now_ms
    thief.steal(OTHER_NODE.encode(), Theft.CUT)
    leases = await world.store.lease(OTHER_NODE, Stage.DELIVER, now_ms=now_ms, until_ms=now_ms + 1000, most=2)
    assert [(lease.shard, lease.epoch) for lease in leases] == [(0, 2), (1, 2)]
    assert thief.stolen == 1


async def test_when_no_answer_ever_comes_the_outcome_is_said_to_be_unknown(
    thief: AnswerThief, clock: ManualClock
) -> None:
    patience = Patience(hot_try_seconds=0.2, persist_seconds=0.5)
    store = await PostgresStore.open(thief.dsn, clock, patience=patience)
    for _ in range(20):
        thief.steal(BATCH, Theft.HELD)
    with pytest.raises(StoreUnavailable, match="does not tell whether the last commit succeeded"):
        await store.append([a_unit()])
    await store.close()


@dataclass(kw_only=True)
class StandStill:
    """A job whose first answer is lost, after which the whole process stands still."""

    seconds: float
    tries: list[bool] = field(default_factory=list)  #: of each try, whether an earlier one may have been committed

    async def __call__(self, connection: Connection, again: bool) -> None:
        self.tries.append(again)
        await connection.fetch("SELECT 1")
        if len(self.tries) == 1:
            # The loop comes to it when this try is over, which is in the pause before the next one.
            asyncio.get_running_loop().call_soon(time.sleep, self.seconds)
            raise ConnectionResetError


@pytest.fixture
async def hasty(postgres18_dsn: str, clock: ManualClock) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(postgres18_dsn, clock, patience=Patience(persist_seconds=1.0))
    yield store
    await store.close()


async def test_a_write_that_may_be_committed_is_not_repeated_after_the_process_stood_still(
    hasty: PostgresStore,
) -> None:
    job = StandStill(seconds=1.2)
    # What tells a repeat from a new write may have been pruned meanwhile.
    with pytest.raises(StoreUnavailable, match="does not tell whether the last commit succeeded"):
        await hasty._database.write(job, at_once=True)
    assert job.tries == [False]
    assert await hasty.all(Kind.APPLICATION) == []


async def test_a_write_that_may_be_committed_is_repeated_after_a_short_while(hasty: PostgresStore) -> None:
    job = StandStill(seconds=0.0)
    await hasty._database.write(job, at_once=True)
    assert job.tries == [False, True]


async def test_a_write_that_cannot_be_committed_is_repeated_however_late_it_is(hasty: PostgresStore) -> None:
    job = StandStill(seconds=1.2)
    await hasty._database.write(job)  # the answer is lost before the commit is asked for
    assert job.tries == [False, False]


async def test_a_read_whose_answer_is_lost_is_asked_again(world: World, thief: AnswerThief) -> None:
    event = await world.publish()
    thief.steal(WORKSPACE.encode(), Theft.CUT)
    assert await _events(world) == [event.id]
    assert thief.stolen == 1
