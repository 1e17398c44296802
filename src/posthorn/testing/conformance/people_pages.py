"""Pages of people and runs: forwards and backwards, by segment, automation, profile and state."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from collections.abc import Sequence
from typing import Any

import pytest

from posthorn.engine.people import Membership, ProfileQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.runs import Run, RunQuery, RunState
from posthorn.testing.conformance.profiles import decide
from posthorn.testing.conformance.timers import ANN, BOB
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import OTHER_WORKSPACE, WORKSPACE, a_profile, a_run

USERS = ["$alias/mail/z", "a", "a/b", "aa", "b", "Ж", "龍"]


@pytest.fixture
async def people(world: World) -> World:
    """Have seven people, one who was merged into another, and a stranger of another workspace."""
    merged = a_profile("aaa", merged_into=user_profile(WORKSPACE, "b"))
    stranger = a_profile("a", workspace=OTHER_WORKSPACE)
    made = [a_profile(user) for user in USERS]
    joined = [*made[::2], merged, stranger]
    memberships = [Membership(segment="seg_1", profile=one.key, is_in=True, since_ms=1) for one in joined]
    other = Membership(segment="seg_2", profile=made[1].key, is_in=True, since_ms=1)
    await decide(world, profiles=(*made[::-1], merged, stranger), memberships=(*memberships, other))
    return world


async def _users(world: World, **query: Any) -> list[str]:
    page = await world.store.profiles(ProfileQuery(**({"workspace": WORKSPACE} | query)))
    assert all(profile.workspace == query.get("workspace", WORKSPACE) for profile in page.profiles)
    return [profile.user for profile in page.profiles]


async def _walk_people(world: World, **query: Any) -> list[str]:
    walked: list[str] = []
    is_backwards, more, after = bool(query.get("backwards")), True, None
    while more:
        asked = ProfileQuery(**({"workspace": WORKSPACE, "after": after} | query))
        page = await world.store.profiles(asked)
        found = [profile.user for profile in page.profiles]
        assert len(found) <= asked.limit
        assert found or not page.more
        walked = found + walked if is_backwards else walked + found
        more, after = page.more, (walked[0] if is_backwards else walked[-1]) if walked else None
    return walked


@pytest.mark.parametrize("backwards", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_of_people_meet_with_no_gap_and_no_repeat(people: World, limit: int, *, backwards: bool) -> None:
    assert await _walk_people(people, limit=limit, backwards=backwards) == USERS
    members = await _walk_people(people, limit=limit, backwards=backwards, segment="seg_1")
    assert members == USERS[::2]


async def test_a_page_of_people_goes_on_behind_a_user_id_that_need_not_exist(people: World) -> None:
    assert await _users(people, after="a!") == USERS[2:]
    assert await _users(people, after="a!", backwards=True) == USERS[:2]
    assert await _users(people, after="aa", limit=1) == ["b"]
    assert await _users(people, after="aa", limit=1, backwards=True) == ["a/b"]
    assert await _users(people, after="a\0", segment="seg_1") == USERS[2::2]
    assert await _users(people, after="龍") == []


async def test_people_are_listed_in_their_own_workspace_and_segment(people: World) -> None:
    assert await _users(people, workspace=OTHER_WORKSPACE) == ["a"]
    assert await _users(people, workspace=OTHER_WORKSPACE, segment="seg_1") == ["a"]
    assert await _users(people, segment="seg_2") == ["a"]
    assert await _users(people, segment="seg_unknown") == []


async def test_a_profile_that_was_merged_away_is_found_by_its_key_alone(people: World) -> None:
    found = await people.store.profile(user_profile(WORKSPACE, "aaa"))
    assert found is not None
    assert found.merged_into == user_profile(WORKSPACE, "b")


@pytest.fixture
async def runs(world: World) -> list[Run]:
    """Have runs of two people and two automations in all states, oldest first."""
    made = [
        a_run(
            entered_ms=world.now_ms + 1000 * number,
            automation=f"auto_{number % 2}",
            profile=(ANN, BOB)[number // 2 % 2],
            state=list(RunState)[number % 5],
        )
        for number in range(12)
    ]
    await decide(world, runs=(*made[::2], *made[1::2], a_run(workspace=OTHER_WORKSPACE, automation="auto_other")))
    return made


QUERIES: list[dict[str, Any]] = [
    {},
    {"automation": "auto_1"},
    {"profile": ANN},
    {"state": RunState.ACTIVE},
    {"automation": "auto_0", "state": RunState.COMPLETED},
    {"automation": "auto_0", "profile": BOB},
    {"profile": BOB, "state": RunState.EXITED},
]


def _expected(runs: Sequence[Run], wanted: dict[str, Any]) -> list[Run]:
    return [run for run in reversed(runs) if all(getattr(run, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize("wanted", QUERIES)
@pytest.mark.parametrize("backwards", [True, False])
async def test_pages_of_runs_meet_with_no_gap_and_no_repeat(
    world: World, runs: list[Run], wanted: dict[str, Any], *, backwards: bool
) -> None:
    expected = _expected(runs, wanted)
    for limit in (1, 2, 5, 50):
        walked: list[Run] = []
        more, after = True, None
        while more:
            query = RunQuery(workspace=WORKSPACE, limit=limit, backwards=backwards, after=after, **wanted)
            page = await world.store.runs(query)
            walked = [*page.runs, *walked] if backwards else [*walked, *page.runs]
            assert len(page.runs) <= limit
            assert page.runs or not page.more
            more, after = page.more, (walked[0] if backwards else walked[-1]).id if walked else None
        assert walked == expected


async def test_a_page_of_runs_goes_on_behind_an_id_that_need_not_exist(world: World, runs: list[Run]) -> None:
    page = await world.store.runs(RunQuery(workspace=WORKSPACE, after=f"{runs[5].id}!", limit=2))
    assert page.runs == [runs[5], runs[4]]
    page = await world.store.runs(RunQuery(workspace=WORKSPACE, after="run_", automation="auto_1"))
    assert (page.runs, page.more) == ([], False)


async def test_a_run_is_found_in_its_own_workspace(world: World, runs: list[Run]) -> None:
    assert await world.store.run(WORKSPACE, runs[3].id) == runs[3]
    assert await world.store.run(OTHER_WORKSPACE, runs[3].id) is None
    assert await world.store.run(WORKSPACE, "run_unknown") is None


async def test_an_automations_runs_are_counted_by_state(world: World, runs: list[Run]) -> None:
    counts = await world.store.run_counts(WORKSPACE, "auto_1")
    of_it = _expected(runs, {"automation": "auto_1"})
    assert counts == {state.value: sum(run.state is state for run in of_it) for state in {run.state for run in of_it}}
    assert sum(counts.values()) == 6
    assert await world.store.run_counts(WORKSPACE, "auto_other") == {}
    assert await world.store.run_counts(WORKSPACE, "auto_unknown") == {}
