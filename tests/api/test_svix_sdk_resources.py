"""The official SDK against our applications, endpoints and event types."""

import pytest
from served import World
from svix.api import (
    ApplicationIn,
    ApplicationListOptions,
    EndpointHeadersIn,
    EndpointHeadersPatchIn,
    EndpointIn,
    EndpointListOptions,
    EndpointPatch,
    EndpointSecretRotateIn,
    EventTypeIn,
    EventTypeListOptions,
    EventTypePatch,
    SvixAsync,
)
from svix.api.event_type import EventTypeDeleteOptions
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import ApplicationPatch, EndpointUpsertIn, EventTypeUpsertIn, Ordering

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_an_application_lives_through_the_sdk(svix: SvixAsync) -> None:
    made = await svix.application.create(
        ApplicationIn(name="Shop", uid="shop", metadata={"plan": "gold"}, throttle_rate=10)
    )
    assert made.id.startswith("app_")
    assert (made.name, made.uid, made.metadata, made.throttle_rate) == ("Shop", "shop", {"plan": "gold"}, 10)
    assert await svix.application.get("shop") == made
    assert await svix.application.get(made.id) == made

    changed = await svix.application.patch("shop", ApplicationPatch(name="Shop 2", throttle_rate=None))
    assert (changed.name, changed.throttle_rate, changed.metadata) == ("Shop 2", None, {"plan": "gold"})
    assert changed.updated_at > made.updated_at

    await svix.application.delete("shop")
    with pytest.raises(HttpError) as gone:
        await svix.application.get("shop")
    assert (gone.value.status_code, gone.value.code) == (404, "not_found")


async def test_get_or_create_returns_what_is_there(svix: SvixAsync) -> None:
    made = await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    again = await svix.application.get_or_create(ApplicationIn(name="Other name", uid="shop"))
    assert again == made
    new = await svix.application.get_or_create(ApplicationIn(name="New", uid="new"))
    assert new.uid == "new"


async def test_a_taken_uid_is_a_conflict(svix: SvixAsync) -> None:
    await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    with pytest.raises(HttpError) as refused:
        await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    assert (refused.value.status_code, refused.value.code) == (409, "conflict")


async def test_an_upsert_creates_under_the_uid_and_then_replaces(svix: SvixAsync) -> None:
    made = await svix.application.upsert("shop", ApplicationIn(name="Shop", metadata={"a": "b"}))
    replaced = await svix.application.upsert("shop", ApplicationIn(name="Shop 2"))
    assert (replaced.id, replaced.uid, replaced.name, replaced.metadata) == (made.id, "shop", "Shop 2", {})


async def test_pages_of_applications_lead_forwards_and_back(svix: SvixAsync) -> None:
    made = [await svix.application.create(ApplicationIn(name=f"App {number}")) for number in range(5)]
    first = await svix.application.list(ApplicationListOptions(limit=2))
    second = await svix.application.list(ApplicationListOptions(limit=2, iterator=first.iterator))
    third = await svix.application.list(ApplicationListOptions(limit=2, iterator=second.iterator))
    assert [row.id for page in (first, second, third) for row in page.data] == [row.id for row in made]
    assert (first.done, second.done, third.done) == (False, False, True)
    back = await svix.application.list(ApplicationListOptions(limit=2, iterator=third.prev_iterator))
    assert back.data == second.data
    backwards = await svix.application.list(ApplicationListOptions(order=Ordering.DESCENDING))
    assert [row.id for row in backwards.data] == [row.id for row in reversed(made)]


async def test_applications_without_useful_endpoints_can_be_left_out(svix: SvixAsync) -> None:
    for uid in ("empty", "disabled", "play", "good"):
        await svix.application.create(ApplicationIn(name=uid, uid=uid))
    await svix.endpoint.create("disabled", EndpointIn(url="https://example.com/a", disabled=True))
    await svix.endpoint.create("play", EndpointIn(url="https://play.svix.com/in/e_abc/"))
    await svix.endpoint.create("good", EndpointIn(url="https://example.com/a"))
    page = await svix.application.list(
        ApplicationListOptions(
            limit=1,
            exclude_apps_with_no_endpoints=True,
            exclude_apps_with_disabled_endpoints=True,
            exclude_apps_with_svix_play_endpoints=True,
        )
    )
    assert [row.uid for row in page.data] == ["good"]
    assert page.done


async def test_an_endpoint_lives_through_the_sdk(svix: SvixAsync) -> None:
    await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    made = await svix.endpoint.create(
        "shop",
        EndpointIn(
            url="https://example.com/hook",
            uid="hook",
            description="Orders",
            event_types=["order.paid"],
            channels=["eu"],
            metadata={"team": "a"},
            secret=SECRET,
            headers={"X-Team": "a", "Authorization": "Bearer secret"},
            throttle_rate=5,
        ),
    )
    assert made.id.startswith("ep_")
    assert await svix.endpoint.get("shop", "hook") == made
    assert (await svix.endpoint.get_secret("shop", "hook")).key == SECRET
    headers = await svix.endpoint.get_headers("shop", "hook")
    assert (headers.headers, headers.sensitive) == ({"X-Team": "a"}, ["Authorization"])

    changed = await svix.endpoint.patch("shop", "hook", EndpointPatch(channels=None, disabled=True))
    assert (changed.channels, changed.disabled, changed.event_types) == (None, True, ["order.paid"])

    replaced = await svix.endpoint.upsert("shop", "hook", EndpointUpsertIn(url="https://example.com/other"))
    assert (replaced.id, replaced.url, replaced.uid) == (made.id, "https://example.com/other", "hook")
    assert (replaced.event_types, replaced.disabled, replaced.description) == (None, False, "")
    assert (await svix.endpoint.get_secret("shop", "hook")).key == SECRET

    await svix.endpoint.delete("shop", "hook")
    assert (await svix.endpoint.list("shop")).data == []


async def test_endpoints_are_listed_newest_first(svix: SvixAsync) -> None:
    await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    made = [
        (await svix.endpoint.create("shop", EndpointIn(url=f"https://example.com/{number}"))).id for number in range(3)
    ]
    assert [row.id for row in (await svix.endpoint.list("shop")).data] == made[::-1]
    ascending = await svix.endpoint.list("shop", EndpointListOptions(order=Ordering.ASCENDING))
    assert [row.id for row in ascending.data] == made


async def test_headers_are_patched_by_name_without_case(svix: SvixAsync) -> None:
    await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    made = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/hook"))
    await svix.endpoint.set_headers("shop", made.id, EndpointHeadersIn(headers={"X-A": "1", "X-B": "2"}))
    await svix.endpoint.patch_headers(
        "shop", made.id, EndpointHeadersPatchIn(headers={"x-a": "3"}, delete_headers=["x-b"])
    )
    assert (await svix.endpoint.get_headers("shop", made.id)).headers == {"x-a": "3"}


async def test_a_rotated_secret_replaces_the_one_that_is_shown(svix: SvixAsync, world: World) -> None:
    application = await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    made = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/hook"))
    before = (await svix.endpoint.get_secret("shop", made.id)).key
    rotated = await svix.endpoint.rotate_secret("shop", made.id, EndpointSecretRotateIn(key=SECRET))
    assert rotated.key == SECRET != before
    stored = world.directory.endpoint(made.id)
    assert stored is not None
    assert stored.parent == application.id
    assert [secret.expires_ms is None for secret in stored.secrets] == [True, False]


async def test_an_event_type_lives_through_the_sdk(svix: SvixAsync) -> None:
    schemas = {"1": {"title": "Paid", "examples": [{"total": 1}]}}
    made = await svix.event_type.create(
        EventTypeIn(
            name="order.paid",
            description="Paid",
            schemas=schemas,
            deprecated=True,
            group_name="orders",
            feature_flags=["beta"],
        )
    )
    assert (made.name, made.schemas, made.group_name, made.feature_flags) == (
        "order.paid",
        schemas,
        "orders",
        ["beta"],
    )
    assert await svix.event_type.get("order.paid") == made
    changed = await svix.event_type.patch("order.paid", EventTypePatch(description="New", schemas=None))
    assert (changed.description, changed.schemas, changed.deprecated) == ("New", None, True)
    upserted = await svix.event_type.upsert("order.new", EventTypeUpsertIn(description="Made"))
    assert upserted.name == "order.new"
    assert [row.name for row in (await svix.event_type.list()).data] == ["order.new", "order.paid"]


async def test_a_deleted_event_type_is_archived_and_comes_back_by_creating_it(svix: SvixAsync) -> None:
    await svix.event_type.create(EventTypeIn(name="order.paid", description="Paid"))
    with pytest.raises(HttpError) as refused:
        await svix.event_type.create(EventTypeIn(name="order.paid", description="Paid"))
    assert (refused.value.status_code, refused.value.code) == (409, "event_type_exists")
    await svix.event_type.delete("order.paid")
    assert (await svix.event_type.list()).data == []
    archived = await svix.event_type.list(EventTypeListOptions(include_archived=True))
    assert [row.archived for row in archived.data] == [True]
    back = await svix.event_type.create(EventTypeIn(name="order.paid", description="Again"))
    assert (back.archived, back.description) == (False, "Again")
    await svix.event_type.delete("order.paid", EventTypeDeleteOptions(expunge=True))
    assert (await svix.event_type.list(EventTypeListOptions(include_archived=True))).data == []


async def test_event_types_are_paged_by_name_and_archived_ones_leave_no_gap(svix: SvixAsync) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await svix.event_type.create(EventTypeIn(name=name, description=name))
    await svix.event_type.delete("b")
    first = await svix.event_type.list(EventTypeListOptions(limit=2))
    assert ([row.name for row in first.data], first.iterator, first.done) == (["a", "c"], "c", False)
    second = await svix.event_type.list(EventTypeListOptions(limit=2, iterator=first.iterator))
    assert ([row.name for row in second.data], second.done) == (["d", "e"], True)
    back = await svix.event_type.list(EventTypeListOptions(limit=2, iterator=second.prev_iterator))
    assert [row.name for row in back.data] == ["a", "c"]


async def test_what_is_wrong_is_named_in_the_sdks_validation_error(svix: SvixAsync) -> None:
    await svix.application.create(ApplicationIn(name="Shop", uid="shop"))
    with pytest.raises(HTTPValidationError) as refused:
        await svix.endpoint.create("shop", EndpointIn(url="http://10.0.0.1/hook"))
    [problem] = refused.value.detail
    assert (problem.loc, problem.type) == (["body", "url"], "address_not_allowed")


async def test_the_sdk_finds_the_server_healthy(svix: SvixAsync) -> None:
    assert await svix.health.get() is None
