"""Story 7: the owner of a product hears of a review in Telegram."""

from story_instants import at
from story_pages import Page
from story_world import Begin
from vendor_street import vendor

PAGE = Page("review-to-owner")


async def test_the_owner_hears_of_each_review_once(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    telegram = await world.vendor(vendor("telegram"), TELEGRAM_TOKEN="token")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.quiet()
    await world.follow(PAGE, "Try it first")
    assert telegram.received == []
    await world.follow(PAGE, "Let it happen")
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    await world.quiet()
    assert telegram.bodies == [{"chat_id": "987654321", "text": '5 of 5 for Lamp\nIt says "on" and it is.'}]
    [refused] = await world.rows("/decision", automation="review", outcome="not_matched")
    assert refused["profile"].endswith("/user/seller-9")
