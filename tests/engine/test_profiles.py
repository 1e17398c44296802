from collections.abc import Iterable

import pytest

from posthorn.engine.directory import Directory
from posthorn.engine.flows import AgainAfter, Eligibility, Once, OncePerKey
from posthorn.engine.lanes import automation_lane
from posthorn.engine.profiles import profile_of, shared_profile, user_profile
from posthorn.testing.factories import AUTOMATION, OTHER_WORKSPACE, WORKSPACE, an_automation
from posthorn.testing.memory import MemoryStore


async def _directory(eligibilities: Iterable[Eligibility | None]) -> Directory:
    registry = MemoryStore()
    for eligibility in eligibilities:
        chosen = {} if eligibility is None else {"eligibility": eligibility}
        await registry.insert(an_automation(**chosen))
    directory = Directory()
    await directory.load(registry)
    return directory


def _profile(directory: Directory, *, user: str | None = None, event: str = "evt_1") -> str | None:
    return profile_of(directory, WORKSPACE, "order.paid", user, event)


async def test_a_users_events_are_always_work_and_share_one_profile() -> None:
    nothing_listens = await _directory([])
    for directory in (nothing_listens, await _directory([Once()])):
        profiles = {_profile(directory, user="ann", event=event) for event in ("evt_1", "evt_2")}
        assert profiles == {user_profile(WORKSPACE, "ann")}


async def test_an_empty_user_is_a_user() -> None:
    assert _profile(await _directory([]), user="") == user_profile(WORKSPACE, "")


async def test_an_event_without_a_user_that_nothing_listens_to_is_no_work() -> None:
    assert _profile(await _directory([])) is None
    other = await _directory([None])
    assert profile_of(other, WORKSPACE, "order.sent", None, "evt_1") is None
    assert profile_of(other, OTHER_WORKSPACE, "order.paid", None, "evt_1") is None


async def test_events_without_a_user_spread_when_every_rule_fires_always() -> None:
    directory = await _directory([None, None])
    assert _profile(directory, event="evt_1") != _profile(directory, event="evt_2")


@pytest.mark.parametrize("remembering", [Once(), OncePerKey(key="k"), AgainAfter(seconds=1)])
async def test_one_owner_sees_all_events_without_a_user_when_a_rule_remembers(remembering: Eligibility) -> None:
    directory = await _directory([None, remembering])
    profiles = {_profile(directory, event=event) for event in ("evt_1", "evt_2")}
    assert profiles == {shared_profile(WORKSPACE)}


async def test_profiles_of_different_workspaces_users_and_events_never_meet() -> None:
    spread = _profile(await _directory([None]), event="evt_1")
    profiles = [
        spread,
        shared_profile(WORKSPACE),
        shared_profile(OTHER_WORKSPACE),
        user_profile(WORKSPACE, "nobody"),
        user_profile(WORKSPACE, "event/evt_1"),
        user_profile(OTHER_WORKSPACE, "nobody"),
    ]
    assert len(set(profiles)) == len(profiles)


@pytest.mark.parametrize(
    ("url", "lane"),
    [
        ("https://Example.test/a?b", "example.test"),
        ("https://example.test:8443/", "example.test:8443"),
        ("https://user:password@example.test/", "example.test"),
        ("http://[::1]:80/", "[::1]:80"),
        ("http://[broken/", ""),
        ("no url", ""),
    ],
)
def test_an_automation_has_a_lane_for_each_host(url: str, lane: str) -> None:
    assert automation_lane(AUTOMATION, url) == f"{AUTOMATION}/{lane}"
