import pytest
from msgspec.structs import replace

from posthorn.engine import resources
from posthorn.engine.directory import Directory
from posthorn.engine.flows import EventTrigger
from posthorn.engine.resources import Kind, Resource
from posthorn.testing import factories
from posthorn.testing.factories import APPLICATION, OTHER_WORKSPACE, WORKSPACE
from posthorn.testing.memory import MemoryStore


@pytest.fixture
def registry() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def directory() -> Directory:
    return Directory()


async def _insert(registry: MemoryStore, *rows: Resource) -> None:
    for resource in rows:
        await registry.insert(resource)


async def test_an_empty_directory_finds_nothing(directory: Directory) -> None:
    assert directory.api_key("digest") is None
    assert directory.source_of_token("digest") is None
    assert directory.source("src_1") is None
    assert directory.source(None) is None
    assert directory.application(WORKSPACE, "app_1") is None
    assert directory.endpoint("ep_1") is None
    assert list(directory.endpoints_of("app_1")) == []
    assert directory.event_type(WORKSPACE, "order.paid") is None
    assert directory.automation("auto_1") is None
    assert list(directory.automations_for(WORKSPACE, "order.paid")) == []
    assert directory.secret(WORKSPACE, "token") is None
    assert directory.every(resources.Source) == []


async def test_a_loaded_directory_finds_each_kind(registry: MemoryStore, directory: Directory) -> None:
    api_key, source, secret = factories.an_api_key(), factories.a_source(), factories.a_secret()
    application, endpoint = factories.an_application(uid="theirs"), factories.an_endpoint()
    event_type, automation = factories.an_event_type(), factories.an_automation()
    await _insert(registry, api_key, source, secret, application, endpoint, event_type, automation)
    await directory.load(registry)
    assert directory.api_key(api_key.digest) == api_key
    assert directory.source_of_token(source.token_digest) == source
    assert directory.source(source.id) == source
    assert directory.application(WORKSPACE, application.id) == application
    assert directory.application(WORKSPACE, "theirs") == application
    assert directory.endpoint(endpoint.id) == endpoint
    assert list(directory.endpoints_of(APPLICATION)) == [endpoint]
    assert directory.event_type(WORKSPACE, "order.paid") == event_type
    assert directory.automation(automation.id) == automation
    assert list(directory.automations_for(WORKSPACE, "order.paid")) == [automation]
    assert directory.secret(WORKSPACE, "token") == secret
    assert directory.every(resources.Source) == [source]


async def test_another_workspace_finds_nothing(registry: MemoryStore, directory: Directory) -> None:
    application = factories.an_application(uid="theirs")
    await _insert(registry, application, factories.a_secret(), factories.an_event_type(), factories.an_automation())
    await directory.load(registry)
    assert directory.application(OTHER_WORKSPACE, application.id) is None
    assert directory.application(OTHER_WORKSPACE, "theirs") is None
    assert directory.secret(OTHER_WORKSPACE, "token") is None
    assert directory.event_type(OTHER_WORKSPACE, "order.paid") is None
    assert list(directory.automations_for(OTHER_WORKSPACE, "order.paid")) == []


async def test_a_refresh_brings_what_was_written_since(registry: MemoryStore, directory: Directory) -> None:
    await directory.load(registry)
    application, source = factories.an_application(), factories.a_source()
    await _insert(registry, application, source)
    assert directory.application(WORKSPACE, application.id) is None
    assert await directory.refresh(registry) == 2
    assert directory.application(WORKSPACE, application.id) == application
    assert directory.source_of_token(source.token_digest) == source
    assert await directory.refresh(registry) == 0


async def test_what_was_written_while_it_loaded_is_not_missed(registry: MemoryStore, directory: Directory) -> None:
    late = factories.an_application()

    class Slow(MemoryStore):
        async def all(self, kind: Kind) -> list[Resource]:
            found = await registry.all(kind)
            if kind is Kind.APPLICATION:
                await registry.insert(late)
            return found

        async def changes(self, after: int) -> list[resources.Change]:
            return await registry.changes(after)

    await directory.load(Slow())
    assert directory.application(WORKSPACE, late.id) == late


async def test_loading_a_long_history_ends_at_the_present(registry: MemoryStore, directory: Directory) -> None:
    first, second = factories.an_application(uid="a"), factories.an_application(uid="b")
    gone = factories.an_application(uid="c")
    await _insert(registry, first, second, gone)
    await registry.replace(replace(second, uid="d"))
    await registry.replace(replace(first, uid="b"))
    await registry.delete(Kind.APPLICATION, WORKSPACE, gone.id)
    await directory.load(registry)
    found = [directory.application(WORKSPACE, uid) for uid in "abcd"]
    assert [application.id if application else None for application in found] == [None, first.id, None, second.id]


async def test_a_changed_uid_moves(registry: MemoryStore, directory: Directory) -> None:
    application = factories.an_application(uid="old")
    await _insert(registry, application)
    await directory.load(registry)
    await registry.replace(replace(application, uid="new"))
    await directory.refresh(registry)
    assert directory.application(WORKSPACE, "old") is None
    assert directory.application(WORKSPACE, "new") == replace(application, uid="new")


async def test_what_was_deleted_is_found_no_more(registry: MemoryStore, directory: Directory) -> None:
    rows: list[Resource] = [
        factories.an_api_key(digest="digest"),
        factories.a_source(token_digest="digest"),
        factories.an_application(uid="theirs"),
        factories.an_endpoint(),
        factories.an_automation(),
    ]
    await _insert(registry, *rows)
    await directory.load(registry)
    for resource in rows:
        assert await registry.delete(resources.KINDS[type(resource)], WORKSPACE, resource.id)
    assert await directory.refresh(registry) == len(rows)
    assert directory.api_key("digest") is None
    assert directory.source_of_token("digest") is None
    assert directory.application(WORKSPACE, "theirs") is None
    assert list(directory.endpoints_of(APPLICATION)) == []
    assert directory.endpoint(rows[3].id) is None
    assert list(directory.automations_for(WORKSPACE, "order.paid")) == []
    assert directory.every(Resource) == []


async def test_a_source_with_a_new_token_leaves_the_old_address(registry: MemoryStore, directory: Directory) -> None:
    source = factories.a_source(token_digest="old")
    await _insert(registry, source)
    await directory.load(registry)
    await registry.replace(replace(source, token_digest="new"))
    await directory.refresh(registry)
    assert directory.source_of_token("old") is None
    assert directory.source_of_token("new") == replace(source, token_digest="new")


async def test_an_automation_follows_its_trigger_and_its_switch(registry: MemoryStore, directory: Directory) -> None:
    automation = factories.an_automation()
    await _insert(registry, automation)
    await directory.load(registry)
    moved = replace(automation, trigger=EventTrigger(event_type="order.sent"))
    await registry.replace(moved)
    await directory.refresh(registry)
    assert list(directory.automations_for(WORKSPACE, "order.paid")) == []
    assert list(directory.automations_for(WORKSPACE, "order.sent")) == [moved]
    await registry.replace(replace(moved, enabled=False))
    await directory.refresh(registry)
    assert list(directory.automations_for(WORKSPACE, "order.sent")) == []
    assert directory.automation(automation.id) == replace(moved, enabled=False)


async def test_an_endpoint_shows_its_newest_version(registry: MemoryStore, directory: Directory) -> None:
    first, second = factories.an_endpoint(), factories.an_endpoint()
    elsewhere = factories.an_endpoint(parent="app_other")
    await _insert(registry, first, second, elsewhere)
    await directory.load(registry)
    paused = replace(first, disabled=True)
    await registry.replace(paused)
    await directory.refresh(registry)
    found = {endpoint.id: endpoint for endpoint in directory.endpoints_of(APPLICATION)}
    assert found == {first.id: paused, second.id: second}
    assert list(directory.endpoints_of("app_other")) == [elsewhere]
