"""The registry: one resource at a time, and the changes that others follow."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

import pytest
from msgspec.structs import replace

from posthorn.engine import flows, resources
from posthorn.engine.ports import Store
from posthorn.engine.resources import KINDS, Kind, Resource
from posthorn.errors import Conflict, NotFound
from posthorn.testing import factories
from posthorn.testing.factories import APPLICATION, OTHER_WORKSPACE, WORKSPACE, an_application, an_endpoint

OTHER_APPLICATION = "app_other"
FULL_ENDPOINT = an_endpoint(
    uid="их-id",
    description="Ünïcode \U0001f4ef",
    metadata={"b": "2", "a": ""},
    event_types=("order.paid", "order.sent"),
    channels=(),
    disabled=True,
    disabled_reason="gone",
    secrets=(factories.a_sealed_secret(), factories.a_sealed_secret(sealed="v1.old", expires_ms=5)),
    headers_sealed="v1.headers",
    throttle_rate=0,
    retry_schedule_seconds=(0, 5),
    deadline_seconds=2.5,
)
FULL_SOURCE = factories.a_source(
    dedupe=resources.DedupeRule(field="data.id"),
    answer=resources.Answer(status=200, headers={"X-A": "1"}, body=""),
    secrets=(factories.a_sealed_secret(),),
    enabled=False,
)
FULL_AUTOMATION = factories.an_automation(
    trigger=flows.EventTrigger(event_type="order.paid", source=FULL_SOURCE.id),
    conditions={"all": [{"field": "a", "op": "gt", "value": 1.5}, {"any": []}]},
    eligibility=flows.OncePerKey(key="{{ event.data.mode }}"),
    send=flows.SendStep(url="https://example.test/", method="PUT", headers={"A": "b"}, body=""),
    version=7,
)
FULL_DRAFT = resources.Draft(
    name="to be",
    trigger=flows.EventTrigger(event_type="order.paid"),
    conditions={"any": []},
    eligibility=flows.OncePerPeriod(period="week"),
    send=flows.SendStep(url="https://example.test/"),
    flow=flows.Flow(triggers=(flows.OnCall(),), steps=(flows.Exit(name="end"),)),
    throttle_rate=3,
    retry_schedule_seconds=(0,),
    based_on=7,
    saved_ms=5,
)
EXAMPLES: list[Resource] = [
    factories.a_workspace(),
    factories.an_api_key(),
    factories.a_source(),
    FULL_SOURCE,
    an_application(metadata={"plan": "gold"}),
    an_endpoint(),
    FULL_ENDPOINT,
    factories.an_event_type(schemas={"1": {"type": "object", "minimum": 1.5}}, feature_flags=("beta",)),
    factories.an_automation(),
    factories.an_automation(eligibility=flows.AgainAfter(seconds=60)),
    factories.an_automation(eligibility=flows.Once()),
    FULL_AUTOMATION,
    factories.an_automation_version(automation=FULL_AUTOMATION),
    factories.an_automation(version=0, enabled=False, trigger=None, send=None, draft=FULL_DRAFT),
    factories.a_segment(),
    factories.a_secret(),
]


async def _find(store: Store, resource: Resource, identifier: str | None = None) -> Resource | None:
    kind = KINDS[type(resource)]
    return await store.get(kind, resource.workspace, identifier or resource.id, parent=resource.parent)


@pytest.mark.parametrize("resource", EXAMPLES, ids=lambda resource: type(resource).__name__)
async def test_every_kind_comes_back_as_it_was_stored(store: Store, resource: Resource) -> None:
    await store.insert(resource)
    assert await _find(store, resource) == resource
    assert await store.all(KINDS[type(resource)]) == [resource]
    (change,) = await store.changes(0)
    assert (change.kind, change.id, change.resource) == (KINDS[type(resource)], resource.id, resource)


async def test_a_resource_is_found_by_its_uid_too(store: Store) -> None:
    application = an_application(uid="their-id")
    await store.insert(application)
    await store.insert(an_application())
    assert await _find(store, application, "their-id") == application
    assert await _find(store, application, "unknown") is None


async def test_an_id_goes_before_a_uid_that_reads_the_same(store: Store) -> None:
    first = an_application()
    await store.insert(an_application(uid=first.id))
    await store.insert(first)
    assert await _find(store, first) == first


async def test_a_resource_is_found_under_its_own_parent_only(store: Store) -> None:
    endpoint = an_endpoint(uid="hook")
    await store.insert(endpoint)
    for identifier in (endpoint.id, "hook"):
        assert await store.get(Kind.ENDPOINT, WORKSPACE, identifier, parent=APPLICATION) == endpoint
        assert await store.get(Kind.ENDPOINT, WORKSPACE, identifier, parent=OTHER_APPLICATION) is None
        assert await store.get(Kind.ENDPOINT, WORKSPACE, identifier) is None


async def test_a_resource_is_found_in_its_own_workspace_and_kind_only(store: Store) -> None:
    application = an_application(uid="theirs")
    await store.insert(application)
    for identifier in (application.id, "theirs"):
        assert await store.get(Kind.APPLICATION, OTHER_WORKSPACE, identifier) is None
        assert await store.get(Kind.SOURCE, WORKSPACE, identifier) is None


async def test_a_taken_id_is_a_conflict_and_changes_nothing(store: Store) -> None:
    application = an_application(name="first")
    await store.insert(application)
    for twin in (
        replace(application, name="second"),
        replace(application, uid="x", workspace=OTHER_WORKSPACE, name="third"),
    ):
        with pytest.raises(Conflict):
            await store.insert(twin)
    assert await store.all(Kind.APPLICATION) == [application]
    assert len(await store.changes(0)) == 1


async def test_a_taken_uid_is_a_conflict_under_the_same_parent(store: Store) -> None:
    first = an_endpoint(uid="hook")
    await store.insert(first)
    with pytest.raises(Conflict):
        await store.insert(an_endpoint(uid="hook"))
    assert await store.all(Kind.ENDPOINT) == [first]
    assert len(await store.changes(0)) == 1


async def test_the_same_uid_is_free_elsewhere(store: Store) -> None:
    await store.insert(an_endpoint(uid="same"))
    await store.insert(an_endpoint(uid="same", parent=OTHER_APPLICATION))
    await store.insert(an_endpoint(uid="same", workspace=OTHER_WORKSPACE))
    await store.insert(an_application(uid="same"))
    await store.insert(factories.a_source(uid="same"))
    assert len(await store.all(Kind.ENDPOINT)) == 3


async def test_many_resources_have_no_uid(store: Store) -> None:
    await store.insert(an_application())
    await store.insert(an_application())
    assert len(await store.all(Kind.APPLICATION)) == 2


async def test_replace_overwrites_the_resource_whole(store: Store) -> None:
    old = an_application(uid="old", metadata={"a": "1"})
    await store.insert(old)
    new = replace(old, uid="new", name="renamed", metadata={}, updated_ms=old.updated_ms + 5)
    await store.replace(new)
    assert await store.all(Kind.APPLICATION) == [new]
    assert await _find(store, new, "new") == new
    assert await _find(store, new, "old") is None


async def test_a_uid_given_up_is_free_again(store: Store) -> None:
    first = an_application(uid="wanted")
    await store.insert(first)
    await store.replace(replace(first, uid=None))
    second = an_application(uid="wanted")
    await store.insert(second)
    assert await _find(store, second, "wanted") == second


async def test_replace_keeps_its_own_uid(store: Store) -> None:
    application = an_application(uid="mine")
    await store.insert(application)
    await store.replace(replace(application, name="renamed"))
    found = await _find(store, application, "mine")
    assert found == replace(application, name="renamed")


async def test_replace_with_a_taken_uid_is_a_conflict_and_changes_nothing(store: Store) -> None:
    first, second = an_application(uid="one"), an_application(uid="two")
    await store.insert(first)
    await store.insert(second)
    with pytest.raises(Conflict):
        await store.replace(replace(second, uid="one"))
    assert await _find(store, second, "two") == second
    assert len(await store.changes(0)) == 2


async def test_replacing_what_is_gone_is_not_found(store: Store) -> None:
    application = an_application()
    with pytest.raises(NotFound):
        await store.replace(application)
    await store.insert(application)
    with pytest.raises(NotFound):
        await store.replace(replace(application, workspace=OTHER_WORKSPACE))
    await store.delete(Kind.APPLICATION, WORKSPACE, application.id)
    with pytest.raises(NotFound):
        await store.replace(application)
    assert await store.all(Kind.APPLICATION) == []


async def test_delete_removes_by_id_once(store: Store) -> None:
    application = an_application(uid="theirs")
    await store.insert(application)
    assert await store.delete(Kind.APPLICATION, WORKSPACE, "theirs") is False
    assert await store.delete(Kind.APPLICATION, OTHER_WORKSPACE, application.id) is False
    assert await store.delete(Kind.SOURCE, WORKSPACE, application.id) is False
    assert await store.delete(Kind.APPLICATION, WORKSPACE, application.id) is True
    assert await store.delete(Kind.APPLICATION, WORKSPACE, application.id) is False
    assert await _find(store, application) is None
    assert await _find(store, application, "theirs") is None


async def test_the_uid_of_what_was_deleted_is_free_again(store: Store) -> None:
    application = an_application(uid="theirs")
    await store.insert(application)
    await store.delete(Kind.APPLICATION, WORKSPACE, application.id)
    again = an_application(uid="theirs")
    await store.insert(again)
    assert await _find(store, again, "theirs") == again


async def test_every_write_is_a_change_with_a_rising_number(store: Store) -> None:
    application, source = an_application(), factories.a_source()
    renamed = replace(application, name="renamed")
    await store.insert(application)
    await store.insert(source)
    await store.replace(renamed)
    await store.delete(Kind.SOURCE, WORKSPACE, source.id)
    changes = await store.changes(0)
    assert [(change.kind, change.id) for change in changes] == [
        (Kind.APPLICATION, application.id),
        (Kind.SOURCE, source.id),
        (Kind.APPLICATION, application.id),
        (Kind.SOURCE, source.id),
    ]
    numbers = [change.number for change in changes]
    assert numbers == sorted(set(numbers))
    assert [change.resource for change in changes[2:]] == [renamed, None]


async def test_a_follower_sees_each_change_once(store: Store) -> None:
    application = an_application()
    await store.insert(application)
    (first,) = await store.changes(0)
    assert await store.changes(first.number) == []
    await store.replace(replace(application, name="renamed"))
    (second,) = await store.changes(first.number)
    assert second.resource == replace(application, name="renamed")
    await store.delete(Kind.APPLICATION, WORKSPACE, application.id)
    (third,) = await store.changes(second.number)
    assert (third.id, third.resource) == (application.id, None)
    assert await store.changes(third.number) == []


async def test_what_failed_is_no_change(store: Store) -> None:
    assert await store.delete(Kind.APPLICATION, WORKSPACE, "app_unknown") is False
    with pytest.raises(NotFound):
        await store.replace(an_application())
    assert await store.changes(0) == []


async def test_the_installation_remembers_values_about_itself(store: Store) -> None:
    assert await store.meta("key_check") is None
    await store.set_meta("key_check", "one")
    await store.set_meta("other", "")
    await store.set_meta("key_check", "two")
    assert await store.meta("key_check") == "two"
    assert await store.meta("other") == ""
