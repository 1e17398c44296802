"""Pages of the registry: by id or by uid, both orders, both directions."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from collections.abc import Sequence
from typing import Any

import pytest

from posthorn.engine.ports import Store
from posthorn.engine.resources import Kind, Resource, ResourceQuery
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import (
    APPLICATION,
    OTHER_WORKSPACE,
    WORKSPACE,
    an_application,
    an_endpoint,
    an_event_type,
)

NAMES = ["a.b", "a.c", "b", "z.1", "Ж"]


async def _insert(store: Store, rows: Sequence[Resource]) -> None:
    # The order of writing must not matter, so the rows are written from both ends.
    for resource in (*rows[::2], *reversed(rows[1::2])):
        await store.insert(resource)


async def _applications(store: Store, count: int = 7) -> list[str]:
    rows = [an_application(created_ms=START_MS + 1000 * number) for number in range(count)]
    await _insert(store, rows)
    return [row.id for row in rows]


async def _page(store: Store, **query: Any) -> list[str]:
    asked = {"kind": Kind.APPLICATION, "workspace": WORKSPACE} | query
    return [resource.id for resource in await store.page(ResourceQuery(**asked))]


async def test_an_empty_registry_has_empty_pages(store: Store) -> None:
    assert await _page(store) == []
    assert await store.all(Kind.APPLICATION) == []


async def test_resources_are_listed_in_the_order_of_their_ids(store: Store) -> None:
    rows = await _applications(store)
    assert await _page(store) == rows
    assert await _page(store, descending=True) == rows[::-1]
    assert await _page(store, limit=2) == rows[:2]
    assert await _page(store, limit=2, descending=True) == rows[:-3:-1]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_of_resources_meet_with_no_gap_and_no_repeat(store: Store, limit: int, *, descending: bool) -> None:
    rows = await _applications(store)
    walked: list[str] = []
    while page := await _page(store, limit=limit, descending=descending, after=walked[-1] if walked else None):
        walked += page
    assert walked == (rows[::-1] if descending else rows)


@pytest.mark.parametrize("descending", [True, False])
async def test_the_page_before_a_resource_keeps_the_order(store: Store, *, descending: bool) -> None:
    rows = await _applications(store)
    ordered = rows[::-1] if descending else rows
    asked = {"backwards": True, "descending": descending, "limit": 3}
    assert await _page(store, **asked, after=ordered[5]) == ordered[2:5]
    assert await _page(store, **asked, after=ordered[2]) == ordered[:2]
    assert await _page(store, **asked, after=ordered[0]) == []


async def test_a_page_goes_on_after_a_resource_that_was_deleted(store: Store) -> None:
    rows = await _applications(store)
    await store.delete(Kind.APPLICATION, WORKSPACE, rows[2])
    assert await _page(store, after=rows[2], limit=2) == rows[3:5]
    assert await _page(store, after=rows[2], limit=2, backwards=True) == rows[:2]


async def test_only_the_asked_parent_workspace_and_kind_are_listed(store: Store) -> None:
    mine = an_endpoint(parent=APPLICATION)
    await _insert(
        store,
        [
            mine,
            an_endpoint(parent="app_other"),
            an_endpoint(parent=APPLICATION, workspace=OTHER_WORKSPACE),
            an_application(),
        ],
    )
    assert await _page(store, kind=Kind.ENDPOINT, parent=APPLICATION) == [mine.id]
    assert await _page(store, kind=Kind.ENDPOINT) == []
    assert len(await store.all(Kind.ENDPOINT)) == 3


@pytest.mark.parametrize("descending", [True, False])
async def test_event_types_are_listed_by_name(store: Store, *, descending: bool) -> None:
    await _insert(store, [an_event_type(uid=name, created_ms=START_MS + 1000 * len(name)) for name in NAMES])

    async def page(**query: Any) -> list[str | None]:
        asked = ResourceQuery(kind=Kind.EVENT_TYPE, workspace=WORKSPACE, by_uid=True, descending=descending, **query)
        return [resource.uid for resource in await store.page(asked)]

    ordered = NAMES[::-1] if descending else NAMES
    assert await page() == ordered
    assert await page(limit=2) == ordered[:2]
    assert await page(limit=2, after=ordered[1]) == ordered[2:4]
    assert await page(limit=2, after=ordered[3], backwards=True) == ordered[1:3]
    assert await page(after="a.bb") == (["a.b"] if descending else NAMES[1:])


async def test_all_lists_every_workspace(store: Store) -> None:
    rows = [an_application(), an_application(workspace=OTHER_WORKSPACE)]
    await _insert(store, rows)
    assert {resource.id for resource in await store.all(Kind.APPLICATION)} == {row.id for row in rows}
