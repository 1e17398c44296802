"""Story 5: a click on "call me back" is a task in Bitrix24 and in amoCRM."""

from datetime import datetime

from story_instants import at
from story_pages import Page
from story_world import Begin
from vendor_street import vendor

PAGE = Page("call-back")


async def test_both_teams_get_a_task_that_is_due_in_an_hour_and_impatient_clicks_make_no_more(begin: Begin) -> None:
    start_ms = at("2026-11-22T10:00+00:00")
    world = await begin(start_ms)
    bitrix = await world.vendor(vendor("bitrix24", "acme.bitrix24.com"), BITRIX_CODE="code")
    amocrm = await world.vendor(vendor("amocrm", "acme.amocrm.ru"), AMO_TOKEN="token")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.follow(PAGE, "Try it first")
    assert (bitrix.received, amocrm.received) == ([], [])
    await world.follow(PAGE, "Let it happen")
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")

    [task] = bitrix.bodies
    assert bitrix.received[0].path == "/rest/17/other0code/tasks.task.add"
    due_ms = datetime.fromisoformat(task["fields"].pop("DEADLINE")).timestamp() * 1000
    assert 0 <= due_ms - start_ms - 3_600_000 < 60_000
    assert task["fields"] == {
        "TITLE": 'Call Anna "Ann" Meyer back',
        "RESPONSIBLE_ID": 1,
        "DESCRIPTION": "Phone: +79161234567. Page: /prices",
    }
    [[note]] = amocrm.bodies
    assert 0 <= note["complete_till"] * 1000 - start_ms - 3_600_000 < 60_000
    assert note["text"] == 'Call Anna "Ann" Meyer back: +79161234567'
    assert note["request_id"].startswith("dlv_")
    outcomes = sorted(decision["reason"] for decision in await world.rows("/decision", automation="call-back"))
    assert outcomes == ["entered", "fired_recently"]

    await world.pass_time(601)
    write_key = (await world.follow(PAGE, "Let it happen"))[-1].json()["writeKey"]
    await world.quiet()
    assert (len(bitrix.received), len(amocrm.received)) == (2, 2)

    click = {
        "userId": "visitor-10",
        "event": "callback_clicked",
        "properties": {"name": "Ben", "phone": "+79160000002"},
        "messageId": "click-1",
    }
    for _ in range(2):  # a library that got no answer sends it again
        response = await world.http.post(f"{world.node.url}/v1/track", json=click, auth=(write_key, ""))
        assert response.json() == {"success": True}
    await world.quiet()
    assert [task["fields"]["TITLE"] for task in bitrix.bodies[2:]] == ["Call Ben back"]
    assert [note["text"] for [note] in amocrm.bodies[2:]] == ["Call Ben back: +79160000002"]
