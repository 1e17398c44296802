"""The shipped snippet in a real Chromium, on a site with a strict Content-Security-Policy."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from two_origins import WRITE_KEY, Fault, Site

if TYPE_CHECKING:
    from playwright.async_api import BrowserType, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORED = """
Object.keys(localStorage).filter(key => key.startsWith("posthorn.e.")).sort()
    .map(key => JSON.parse(localStorage[key]).messageId)
"""
# A function, since the site's policy forbids to evaluate a text again and again.
NOTHING_STORED = f"() => !({STORED}).length"
TRACK_MANY = """([name, count]) => { for (let n = 0; n < count; n++) posthorn.track(name, { n }) }"""


async def open_page(page: "Page", site: Site, path: str = "/") -> None:
    """Open a page and wait until the snippet is there."""
    await page.goto(site.url + path)
    await page.wait_for_function("() => window.posthorn && posthorn.ready")


async def events(site: Site, number: int) -> None:
    await asyncio.to_thread(site.wait_for_events, number)


async def leave(page: "Page", path: str) -> None:
    """Track and leave in one breath. Not inside of the evaluated text, whose answer the navigation would cut off."""
    await page.evaluate(f"setTimeout(() => {{ posthorn.track('leaving'); location.href = '{path}' }})")
    await page.wait_for_url(f"**{path}")  # closing a browser's context in the middle of a navigation can hang


async def batches(site: Site, number: int) -> None:
    await asyncio.to_thread(site.wait_for, lambda: len(site.batches) >= number)


def sent(site: Site) -> list[str]:
    return [message_id for batch in site.batches for message_id in batch.ids]


async def test_the_loading_tag_records_a_page_view_with_its_context(page: "Page", site: Site) -> None:
    await page.goto(f"{site.url}/?utm_source=x")
    await events(site, 1)
    (event,) = site.events.values()
    view = {
        "path": "/",
        "referrer": "",
        "search": "?utm_source=x",
        "title": "Page /",
        "url": f"{site.url}/?utm_source=x",
    }
    assert (event["type"], event["properties"], event["context"]["page"]) == ("page", view, view)
    assert event["context"]["locale"] == "ru-RU"
    assert event["context"]["timezone"] == "Asia/Vladivostok"
    assert "Chrome" in event["context"]["userAgent"]
    assert len(event["anonymousId"]) == 32
    assert "userId" not in event
    assert [batch.write_key for batch in site.batches] == [WRITE_KEY]


async def test_calls_made_before_the_snippet_is_there_are_kept_in_order(page: "Page", site: Site) -> None:
    site.script_may_go.clear()
    await page.goto(site.url, wait_until="commit")
    await page.wait_for_function("() => window.posthorn")
    await page.evaluate("posthorn.identify('u1'); posthorn.track('first'); posthorn.track('second')")
    assert await page.evaluate("posthorn.ready") is None
    site.script_may_go.set()
    await events(site, 4)
    assert [event["type"] for event in site.events.values()] == ["page", "identify", "track", "track"]
    assert [event["event"] for event in site.events.values() if "event" in event] == ["first", "second"]


async def test_who_the_visitor_is_stays_known_until_reset(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await page.evaluate("posthorn.track('before')")
    await page.evaluate("posthorn.identify('u1', { plan: 'pro' })")
    await page.evaluate("posthorn.identify({ city: 'Казань' })")
    await events(site, 4)
    await open_page(page, site, "/other")
    await page.evaluate("posthorn.page('Named', { extra: 1 })")
    await page.evaluate("posthorn.page({ unnamed: 1 })")
    await page.evaluate("posthorn.group('g1', { size: 5 })")
    await page.evaluate("posthorn.alias('u2')")
    await page.evaluate("posthorn.track('as u2')")
    await page.evaluate("posthorn.reset(); posthorn.track('after')")
    await events(site, 11)
    before, as_u2, after = (site.named(name)[0] for name in ("before", "as u2", "after"))
    assert ("userId" in before, as_u2["userId"], "userId" in after) == (False, "u2", False)
    assert before["anonymousId"] == as_u2["anonymousId"] != after["anonymousId"]
    traits = [(e["userId"], e["traits"]) for e in site.events.values() if e["type"] == "identify"]
    assert traits == [("u1", {"plan": "pro"}), ("u1", {"city": "Казань"})]
    views = [e for e in site.events.values() if e["type"] == "page" and e["context"]["page"]["path"] == "/other"]
    assert [(view["userId"], view.get("name")) for view in views] == [("u1", None), ("u1", "Named"), ("u1", None)]
    assert (views[1]["properties"]["extra"], views[2]["properties"]["unnamed"]) == (1, 1)
    (group,) = [e for e in site.events.values() if e["type"] == "group"]
    assert (group["groupId"], group["traits"]) == ("g1", {"size": 5})
    (alias,) = [e for e in site.events.values() if e["type"] == "alias"]
    assert (alias["userId"], alias["previousId"]) == ("u2", "u1")


async def test_events_made_offline_are_sent_when_the_browser_is_online(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await events(site, 1)
    await page.context.set_offline(True)
    await page.evaluate(TRACK_MANY, ["offline", 3])
    stored = await page.evaluate(STORED)
    assert len(stored) == 3
    assert site.named("offline") == []
    await page.context.set_offline(False)
    await events(site, 4)
    assert list(site.events)[1:] == stored
    assert [event["properties"]["n"] for event in site.named("offline")] == [0, 1, 2]
    await page.wait_for_function(NOTHING_STORED)


async def test_no_more_than_five_hundred_events_wait_and_the_newest_are_kept(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await events(site, 1)
    await page.context.set_offline(True)
    await page.evaluate(TRACK_MANY, ["many", 510])
    assert len(await page.evaluate(STORED)) == 500
    await page.context.set_offline(False)
    await events(site, 501)
    assert [event["properties"]["n"] for event in site.named("many")] == list(range(10, 510))
    assert max(len(batch.ids) for batch in site.batches) <= 50


async def test_large_events_are_cut_into_requests_that_a_beacon_could_carry(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await page.evaluate("for (let n = 0; n < 8; n++) posthorn.track('large', { text: 'ж'.repeat(9000) })")
    await events(site, 9)  # the double refuses requests over 64 KiB
    assert len(site.named("large")) == 8


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=429, headers={"retry-after": "1"}),
        Fault(status=408),
        Fault(status=None),
    ],
    ids=["500", "429", "408", "cut connection"],
)
async def test_a_failed_request_is_repeated_with_the_same_ids(fault: Fault, page: "Page", site: Site) -> None:
    site.faults.append(fault)
    await open_page(page, site)
    await events(site, 1)
    assert len(set(sent(site))) == 1
    assert len(site.batches) == 2


async def test_one_wrong_event_does_not_take_the_others_with_it(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await events(site, 1)
    site.refuses = lambda event: event.get("properties", {}).get("n") == 1
    await page.evaluate(TRACK_MANY, ["x", 3])
    await events(site, 3)
    await page.wait_for_function(NOTHING_STORED)
    assert [event["properties"]["n"] for event in site.named("x")] == [0, 2]


async def test_leaving_the_page_sends_what_waits_by_beacon(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await events(site, 1)
    await leave(page, "/plain")
    await events(site, 2)
    (batch,) = [batch for batch in site.batches if site.named("leaving")[0]["messageId"] in batch.ids]
    assert batch.mode == "no-cors"


async def test_what_a_beacon_carried_is_confirmed_by_the_next_page_under_the_same_id(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await events(site, 1)
    await leave(page, "/other")
    await events(site, 3)
    await page.wait_for_function(NOTHING_STORED)
    (leaving,) = site.named("leaving")
    await asyncio.to_thread(site.wait_for, lambda: sent(site).count(leaving["messageId"]) >= 2)
    assert len(set(sent(site))) == 3


async def test_a_queue_that_a_page_left_is_sent_by_the_next_one(page: "Page", site: Site) -> None:
    site.faults.append(Fault(status=503, headers={"retry-after": "600"}))
    await open_page(page, site)
    await batches(site, 1)
    await page.evaluate(TRACK_MANY, ["left", 2])
    stored = await page.evaluate(STORED)
    assert len(stored) == 3
    await page.reload()
    await events(site, 4)
    assert list(site.events)[:3] == stored
    assert len(sent(site)) == 5  # the first page view was refused once


async def test_two_tabs_share_a_queue_and_lose_nothing(page: "Page", site: Site) -> None:
    other = await page.context.new_page()
    await open_page(page, site)
    await open_page(other, site)
    await events(site, 2)
    await page.context.set_offline(True)
    for _ in range(5):
        await asyncio.gather(
            page.evaluate(TRACK_MANY, ["one", 20]),
            other.evaluate(TRACK_MANY, ["other", 20]),
        )
    # Tabs are processes: what one of them writes reaches the other a little later.
    await page.wait_for_function(f"() => ({STORED}).length == 200")
    stored = await page.evaluate(STORED)
    await page.context.set_offline(False)
    await events(site, 202)
    assert {*stored} == {*list(site.events)[2:]}
    for tab in (page, other):
        await tab.wait_for_function(NOTHING_STORED)
    assert {*sent(site)} == site.events.keys()  # some may have come twice, under their one id
    assert len({event["anonymousId"] for event in site.events.values()}) == 1


async def test_without_storage_events_arrive_and_belong_together(page: "Page", site: Site) -> None:
    await open_page(page, site, "/sandboxed")
    assert (
        await page.evaluate("(() => { try { return !localStorage } catch (e) { return e.name } })()") == "SecurityError"
    )
    await page.evaluate("posthorn.identify('u1'); posthorn.track('x')")
    await events(site, 3)
    assert len({event["anonymousId"] for event in site.events.values()}) == 1
    assert site.named("x")[0]["userId"] == "u1"


async def test_with_a_full_storage_events_arrive(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await events(site, 1)
    await page.wait_for_function(NOTHING_STORED)  # else its removal would make room again
    await page.evaluate(
        """() => {
            for (let size = 1 << 20; size >= 1; size >>= 1)
                try { for (let n = 0; ; n++) localStorage[size + "." + n] = "x".repeat(size) } catch (e) {}
        }"""
    )
    await page.evaluate("posthorn.identify('u1'); posthorn.track('x')")
    assert await page.evaluate(STORED) == []
    await events(site, 3)
    assert site.named("x")[0]["userId"] == "u1"


async def test_a_mistake_in_a_call_does_not_break_the_page(page: "Page", site: Site) -> None:
    await open_page(page, site)
    await page.evaluate(
        "() => { const loop = {}; loop.loop = loop; posthorn.track('bad', loop); posthorn.track('good') }"
    )
    await events(site, 2)
    assert site.named("good")
    assert site.named("bad") == []


async def test_loading_twice_changes_nothing(page: "Page", site: Site) -> None:
    site.pages["/twice"] = site.tag + site.tag
    await open_page(page, site, "/twice")
    await page.evaluate("posthorn.track('x')")
    await events(site, 3)  # each tag records a view
    assert len(site.named("x")) == 1
    assert len(sent(site)) == 3


@pytest.mark.parametrize("asked", [True, False])
async def test_do_not_track_is_respected_when_the_site_asks_for_it(
    asked: bool, chromium_type: "BrowserType", chromium_path: str, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(json.dumps({"enable_do_not_track": True}))
    options: dict[str, Any] = {"respectDoNotTrack": asked}
    # The tag of a site that asks, loaded after init; a marker call shows that the snippet has run.
    site.pages["/dnt"] = site.tag.replace(",{})", f",{json.dumps(options)})")
    context = await chromium_type.launch_persistent_context(tmp_path, executable_path=chromium_path)
    try:
        page = await context.new_page()
        await open_page(page, site, "/dnt")
        assert await page.evaluate("navigator.doNotTrack") == "1"
        await page.evaluate("posthorn.identify('u1'); posthorn.alias('u2'); posthorn.track('x')")
        kept = await page.evaluate("Object.keys(localStorage).length")
        if asked:
            assert kept == 0
            await page.goto(f"{site.url}/plain")
            assert site.batches == []
        else:
            assert kept > 0
            await events(site, 4)
    finally:
        await context.close()
