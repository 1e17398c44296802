"""Story 8: on the first of the month a postcard through Lob for each member of a segment."""

from story_instants import at
from story_pages import Page
from story_world import Begin
from vendor_street import Double, vendor

PAGE = Page("postcard")


def names(lob: Double) -> list[str]:
    return [body["to"]["name"] for body in lob.bodies]


async def test_the_members_get_a_card_each_month_at_nine_of_their_own_time(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    lob = await world.vendor(vendor("lob"), LOB_KEY="api_key")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.quiet()
    await world.follow(PAGE, "Try it first")
    await world.pass_until(at("2026-12-01T08:59-05:00"))
    assert lob.received == []
    await world.pass_until(at("2026-12-01T09:01-05:00"))
    assert names(lob) == ["Harry Zhang"]
    await world.pass_until(at("2026-12-01T08:59-08:00"))
    assert names(lob) == ["Harry Zhang"]
    await world.pass_until(at("2026-12-01T09:01-08:00"))
    assert names(lob) == ["Harry Zhang", "Laura Diaz"]
    assert lob.bodies[0]["to"] == {
        "name": "Harry Zhang",
        "address_line1": "210 King St",
        "address_city": "New York",
        "address_state": "NY",
        "address_zip": "10001",
        "address_country": "US",
    }
    assert lob.bodies[0]["merge_variables"] == {"name": "Harry Zhang"}
    assert len({received.headers["idempotency-key"] for received in lob.received}) == 2
    await world.follow(PAGE, "Why")

    await world.person(
        "tom", set={"tier": "gold", "address": {"street": "5 Elm St", "city": "A", "state": "NY", "zip": "1"}}
    )
    await world.person("harry", set={"tier": "bronze"})
    await world.pass_until(at("2027-01-02T00:00+00:00"))
    assert sorted(names(lob)[2:]) == ["Laura Diaz", "Tom"]
