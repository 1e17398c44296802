"""Story 10: LINE, Messenger and Kik from one automation, by the person's channel."""

from story_instants import at
from story_pages import Page
from story_world import Begin
from vendor_street import vendor

from posthorn.testing.vendors.double import basic

PAGE = Page("channel-of-choice")


async def test_each_hears_of_it_in_their_channel_and_nowhere_else(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    line = await world.vendor(vendor("line"), LINE_TOKEN="token")
    messenger = await world.vendor(vendor("messenger"), MESSENGER_TOKEN="token")
    kik = await world.vendor(vendor("kik", authorized=basic("shopbot", "b8f9-other")), KIK_KEY="api_key")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.quiet()
    await world.follow(PAGE, "Try it first")
    assert [double.received for double in (line, messenger, kik)] == [[], [], []]
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    text = "Your order {} is on its way."
    assert line.bodies == [
        {"to": "U4af4980629b6a1c2d3e4f5a6b7c8d9e0", "messages": [{"type": "text", "text": text.format("A-7")}]}
    ]
    assert messenger.bodies == [
        {
            "recipient": {"id": "2345678901234567"},
            "messaging_type": "UPDATE",
            "message": {"text": text.format("A-8")},
        }
    ]
    assert kik.bodies == [{"messages": [{"type": "text", "to": "carl77", "body": text.format("A-9")}]}]
    [run] = await world.rows("/profile/dora/run")
    whole = await world.get(f"/run/{run['id']}")
    assert [step["detail"] for step in whole["path"] if step["step"] == "channel"] == [
        "otherwise: the conditions of no way hold"
    ]
