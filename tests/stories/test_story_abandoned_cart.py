"""Story 3: a coupon for a cart that is not paid within an hour; a payment ends the wait at once."""

from typing import Any

from story_instants import at
from story_pages import Page
from story_world import Begin, StoryWorld
from vendor_street import Double, vendor

PAGE = Page("abandoned-cart")
HOUR = 3600


async def prepared(begin: Begin) -> tuple[StoryWorld, Double]:
    world = await begin(at("2026-11-22T15:00+00:00"))
    twilio = await world.vendor(vendor("twilio"), TWILIO_TOKEN="auth_token")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.quiet()
    return world, twilio


def texts(twilio: Double) -> list[str]:
    return [received.fields()["Body"] for received in twilio.received]


async def runs(world: StoryWorld) -> dict[str, Any]:
    return {run["key"]: run for run in await world.rows("/automation/abandoned-cart/run")}


async def test_the_page_holds(begin: Begin) -> None:
    world, twilio = await prepared(begin)
    await world.follow(PAGE, "Try it first")
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    await world.pass_time(HOUR - 60)
    assert twilio.received == []
    await world.pass_time(120)
    assert texts(twilio) == ["Anna, your cart waits for you. CART10 takes 10 % off: https://shop.example.com/cart/c-1"]
    assert twilio.received[0].fields()["To"] == "+15005550001"
    assert {key: run["state"] for key, run in (await runs(world)).items()} == {"c-1": "completed", "c-2": "exited"}


async def test_a_payment_ends_the_wait_at_once_and_says_so(begin: Begin) -> None:
    world, twilio = await prepared(begin)
    await world.happen("cart_updated", "u-17", {"cart_id": "c-9"})
    waiting = (await runs(world))["c-9"]
    assert (waiting["state"], waiting["wakesAt"]) == ("active", waiting["wakesAt"])
    assert waiting["wakesAt"] is not None
    await world.happen("order_paid", "u-17", {"cart_id": "c-9"})
    run = await world.get(f"/run/{waiting['id']}")
    assert (run["state"], run["wakesAt"], run["waits"]) == ("exited", None, None)
    assert run["path"][-1]["detail"] == "order_paid came: it did not stay away"
    await world.pass_time(2 * HOUR)
    assert twilio.received == []


async def test_each_change_of_a_cart_begins_its_hour_anew_and_each_person_has_their_own(begin: Begin) -> None:
    world, twilio = await prepared(begin)
    await world.person("u-18", set={"name": "Ben", "phone": "+15005550002"})
    await world.happen("cart_updated", "u-17", {"cart_id": "c-1"})
    await world.happen("cart_updated", "u-18", {"cart_id": "c-1"})
    await world.pass_time(HOUR / 2)
    await world.happen("cart_updated", "u-17", {"cart_id": "c-1"})
    await world.happen("order_paid", "u-17", {"cart_id": "another"})
    await world.pass_time(HOUR / 2 + 60)
    assert [text.partition(",")[0] for text in texts(twilio)] == ["Ben"]
    await world.pass_time(HOUR / 2)
    assert [text.partition(",")[0] for text in texts(twilio)] == ["Ben", "Anna"]


async def test_who_has_no_phone_is_not_waited_for(begin: Begin) -> None:
    world, twilio = await prepared(begin)
    event = await world.happen("cart_updated", "nobody", {"cart_id": "c-1"})
    [decision] = await world.rows("/decision", event=event)
    assert (decision["outcome"], decision["reason"]) == ("not_matched", "condition_failed")
    await world.pass_time(2 * HOUR)
    assert twilio.received == []


async def test_a_wait_goes_on_through_a_restart_and_what_was_due_meanwhile_is_sent_once(begin: Begin) -> None:
    world, twilio = await prepared(begin)
    for cart in ("c-1", "c-2"):
        await world.happen("cart_updated", "u-17", {"cart_id": cart})
    await world.stop_node()
    world.clock.leap(HOUR + 60)
    assert twilio.received == []
    await world.start()
    await world.quiet()
    assert sorted(text.rpartition("/")[2] for text in texts(twilio)) == ["c-1", "c-2"]
    await world.pass_time(24 * HOUR)
    assert len(twilio.received) == 2
