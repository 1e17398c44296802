"""Story 4: four systems hear of an unsubscribe at the same time; one that is down for an hour hears of it later."""

import hashlib

from story_instants import at
from story_pages import Page
from story_world import Begin
from vendor_street import vendor

from posthorn.testing.vendors import Reply

PAGE = Page("unsubscribe-everywhere")
MEMBER = f"/3.0/lists/a1b2c3d4e5/members/{hashlib.md5(b'anna@example.com').hexdigest()}"


async def test_three_hear_at_once_and_the_fourth_when_it_is_back(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    mailchimp = await world.vendor(vendor("mailchimp", "us6.api.mailchimp.com"), MAILCHIMP_KEY="api_key")
    hubspot = await world.vendor(vendor("hubspot"), HUBSPOT_TOKEN="token")
    analytics = await world.vendor(vendor("ga4"), GA4_SECRET="api_secret")
    braze = await world.vendor(vendor("braze"), BRAZE_KEY="api_key")
    await world.follow(PAGE, "Prepare")
    tried = [double.received.pop().path for double in (hubspot, analytics)]
    assert tried == ["/account-info/v3/details", "/debug/mp/collect"]
    await world.follow(PAGE, "The automation")
    await world.quiet()
    await world.follow(PAGE, "Try it first")
    doubles = (mailchimp, hubspot, analytics, braze)
    assert [len(double.received) for double in doubles] == [0, 0, 0, 0]

    hubspot.trouble = Reply(status=502, body=b"<html>Bad Gateway</html>")
    began_ms = world.clock.now_ms()
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    assert [len(double.received) for double in doubles] == [1, 1, 1, 1]
    assert (mailchimp.received[0].path, mailchimp.bodies[0]) == (MEMBER, {"status": "unsubscribed"})
    assert braze.bodies == [{"attributes": [{"external_id": "u-17", "email_subscribe": "unsubscribed"}]}]
    told = analytics.bodies[0]
    assert (told["client_id"], told["user_id"]) == ("u-17", "u-17")
    assert told["events"] == [{"name": "unsubscribe", "params": {"reason": "too many mails"}}]
    assert (await world.get("/profile/u-17"))["subscriptions"] == {"email": "unsubscribed"}

    for _ in range(12):
        await world.pass_time(300)
    tried_in_vain = len(hubspot.received)
    assert world.clock.now_ms() - began_ms >= 3_600_000
    assert tried_in_vain >= 4
    [pending] = await world.rows("/delivery", state="pending")
    hubspot.trouble = None
    await world.pass_time(3 * 3600)
    assert len(hubspot.received) == tried_in_vain + 1
    assert {received.path for received in hubspot.received} == {
        "/communication-preferences/v4/statuses/anna%40example.com"
    }
    assert all(body["statusState"] == "UNSUBSCRIBED" for body in hubspot.bodies)
    assert (await world.get(f"/delivery/{pending['id']}"))["state"] == "delivered"
    assert [len(double.received) for double in (mailchimp, analytics, braze)] == [1, 1, 1]
    await world.pass_time(24 * 3600)
    assert len(hubspot.received) == tried_in_vain + 1
