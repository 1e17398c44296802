"""Pages of the journal: every list, both orders, both directions, with no gap and no repeat; ranges of time."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from posthorn import ids
from posthorn.engine.journal import (
    AttemptQuery,
    DecisionQuery,
    DeliveryQuery,
    EventQuery,
    Page,
    RequestQuery,
)
from posthorn.engine.ports import Store
from posthorn.engine.records import RequestOutcome
from posthorn.errors import Invalid
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    OTHER_ENDPOINT,
    OTHER_WORKSPACE,
    WORKSPACE,
    a_decision,
    a_delivery,
    a_request,
    a_unit,
    an_event,
    an_inbox_unit,
)

ROWS = 7

Ask = Callable[..., Awaitable[Page[str]]]


def _ids(page: Page[Any]) -> Page[str]:
    return Page(rows=[getattr(row, "attempt", row).id for row in page.rows], done=page.done)


def _asking(store: Store, kind: str) -> Ask:
    async def ask(**query: Any) -> Page[str]:
        asked = {"workspace": WORKSPACE} | query
        match kind:
            case "requests":
                return _ids(await store.requests(RequestQuery(**asked)))
            case "events":
                return _ids(await store.events(EventQuery(**asked)))
            case "deliveries":
                return _ids(await store.deliveries(DeliveryQuery(**asked)))
            case "attempts":
                return _ids(await store.attempts(AttemptQuery(**asked)))
            case _:
                return _ids(await store.decisions(DecisionQuery(**asked)))

    return ask


@pytest.fixture(params=["requests", "events", "deliveries", "attempts", "decisions"])
async def listed(world: World, request: pytest.FixtureRequest) -> tuple[Ask, list[str], list[int]]:
    """Seven rows of each list, a second apart, with foreign ones between them: how to ask, the ids, the times."""
    for _ in range(ROWS):
        await _commit_one_of_each(world)
        foreign = an_event(received_ms=world.now_ms, workspace=OTHER_WORKSPACE)
        noise = a_request(received_ms=world.now_ms, workspace=OTHER_WORKSPACE)
        delivery = a_delivery(foreign, endpoint=OTHER_ENDPOINT)
        await world.append(a_unit(foreign, request=noise, deliveries=(delivery,)))
    ask = _asking(world.store, request.param)
    rows = (await ask(ascending=True, limit=100)).rows
    assert len(rows) == ROWS
    return ask, rows, [world.now_ms - 1000 * (ROWS - 1 - number) for number in range(ROWS)]


async def _commit_one_of_each(world: World) -> None:
    unit = an_inbox_unit(received_ms=world.later())
    assert unit.event is not None
    await world.append(replace(unit, deliveries=(a_delivery(unit.event),)))
    (undecided,) = (work for work in await world.undecided() if work.event.workspace == WORKSPACE)
    decision = a_decision(undecided, decided_ms=world.now_ms)
    decided = world.decided(undecided, decisions=(decision,))
    await world.store.settle_decisions([decided])
    (work,) = await world.due()
    await world.settle(world.delivered(work))


Listed = tuple[Ask, list[str], list[int]]


async def test_the_newest_rows_come_first_unless_asked_otherwise(listed: Listed) -> None:
    ask, rows, _ = listed
    assert rows == sorted(rows)
    assert (await ask()).rows == rows[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
async def test_pages_meet_with_no_gap_and_no_repeat(
    listed: Listed, limit: int, *, ascending: bool, backwards: bool
) -> None:
    ask, rows, _ = listed
    ordered = rows if ascending else rows[::-1]
    walked: list[str] = []
    page = Page[str](rows=[], done=False)
    while not page.done:
        after = None if not page.rows else page.rows[0 if backwards else -1]
        page = await ask(limit=limit, ascending=ascending, backwards=backwards, after=after)
        assert len(page.rows) == limit or page.done
        walked = [*page.rows, *walked] if backwards else [*walked, *page.rows]
        assert len(walked) <= ROWS
    assert walked == ordered


@pytest.mark.parametrize("ascending", [True, False])
async def test_the_page_before_a_row_keeps_the_order(listed: Listed, *, ascending: bool) -> None:
    ask, rows, _ = listed
    ordered = rows if ascending else rows[::-1]
    page = await ask(after=ordered[5], backwards=True, limit=3, ascending=ascending)
    assert page.rows == ordered[2:5]
    assert page.done is False
    page = await ask(after=ordered[3], backwards=True, limit=3, ascending=ascending)
    assert page.rows == ordered[:3]
    assert page.done is True


async def test_nothing_comes_before_the_first_and_after_the_last(listed: Listed) -> None:
    ask, rows, _ = listed
    assert await ask(after=rows[-1], ascending=True) == Page(rows=[], done=True)
    assert await ask(after=rows[0], ascending=True, backwards=True) == Page(rows=[], done=True)
    assert await ask(after=rows[0]) == Page(rows=[], done=True)


async def test_a_full_page_at_the_very_end_is_done(listed: Listed) -> None:
    ask, rows, _ = listed
    assert await ask(limit=ROWS, ascending=True) == Page(rows=rows, done=True)
    assert await ask(limit=ROWS - 1, ascending=True) == Page(rows=rows[:-1], done=False)


async def test_a_range_of_time_includes_its_start_and_excludes_its_end(listed: Listed) -> None:
    ask, rows, times = listed
    assert (await ask(ascending=True, since_ms=times[2])).rows == rows[2:]
    assert (await ask(ascending=True, before_ms=times[2])).rows == rows[:2]
    assert (await ask(ascending=True, since_ms=times[1], before_ms=times[4])).rows == rows[1:4]
    assert (await ask(ascending=True, since_ms=times[2] + 500)).rows == rows[3:]
    assert (await ask(ascending=True, before_ms=times[2] + 500)).rows == rows[:3]
    assert (await ask(since_ms=times[-1] + 1000)).rows == []


async def test_pages_stay_within_a_range_of_time(listed: Listed) -> None:
    ask, rows, times = listed
    asked = {"since_ms": times[1], "before_ms": times[5], "limit": 3}
    first = await ask(**asked)
    assert first == Page(rows=rows[4:1:-1], done=False)
    assert await ask(**asked, after=first.rows[-1]) == Page(rows=[rows[1]], done=True)
    assert await ask(**asked, after=first.rows[0], backwards=True) == Page(rows=[], done=True)


async def test_an_id_that_is_gone_stands_at_the_instant_in_it(listed: Listed) -> None:
    ask, rows, times = listed
    gone = ids.new_id(rows[0].partition("_")[0], times[3] - 500)
    assert (await ask(after=gone, ascending=True)).rows == rows[3:]
    assert (await ask(after=gone)).rows == rows[2::-1]
    assert (await ask(after=gone, backwards=True, ascending=True)).rows == rows[:3]


@pytest.mark.parametrize("text", ["", "nonsense", "evt_short", "evt_" + "!" * 27, "5"])
async def test_what_is_no_id_is_no_iterator(listed: Listed, text: str) -> None:
    ask, _, _ = listed
    with pytest.raises(Invalid) as refused:
        await ask(after=text)
    assert [problem.loc for problem in refused.value.problems] == [("query", "iterator")]


async def test_messages_and_events_share_one_list_in_the_order_of_commits(world: World) -> None:
    made = [await world.publish(world.message() if number % 2 else world.event(), endpoints=()) for number in range(6)]
    store = world.store
    page = await store.events(EventQuery(workspace=WORKSPACE, ascending=True, limit=3))
    assert [row.id for row in page.rows] == [event.id for event in made[:3]]
    rest = await store.events(EventQuery(workspace=WORKSPACE, ascending=True, after=made[2].id))
    assert [row.id for row in rest.rows] == [event.id for event in made[3:]]
    gone = ids.new_id(ids.MESSAGE, made[2].received_ms - 500)
    placed = await store.events(EventQuery(workspace=WORKSPACE, ascending=True, after=gone))
    assert [row.id for row in placed.rows] == [event.id for event in made[2:]]


async def test_rows_of_one_commit_keep_the_order_in_which_they_were_given(world: World) -> None:
    events = [an_event(received_ms=world.now_ms) for _ in range(20)]
    await world.append(*(a_unit(event, endpoints=()) for event in events))
    page = await world.store.events(EventQuery(workspace=WORKSPACE, ascending=True))
    assert [row.id for row in page.rows] == [event.id for event in events]


async def test_filters_and_pages_go_together(world: World) -> None:
    made = [
        a_request(
            received_ms=world.later(),
            outcome=RequestOutcome.REJECTED if number % 3 == 0 else RequestOutcome.ACCEPTED,
        )
        for number in range(10)
    ]
    for request in made:
        await world.append(a_unit(world.event(), request=request, deliveries=()))
    wanted = [request.id for request in made[::3]]
    ask = _asking(world.store, "requests")
    asked = {"outcome": RequestOutcome.REJECTED, "limit": 3, "ascending": True}
    assert await ask(**asked) == Page(rows=wanted[:3], done=False)
    assert await ask(**asked, after=wanted[2]) == Page(rows=wanted[3:], done=True)
    # The row to go on from need not be one that the filter lets through.
    assert (await ask(**asked, after=made[1].id)).rows == wanted[1:4]
