"""Story 6: a coupon by SMS on the birthday at 10:00, by each person's own clock."""

from story_instants import at
from story_pages import Page
from story_world import Begin
from vendor_street import Double, vendor

PAGE = Page("birthday")
MARGIN_MS = 30_000


def told(exolve: Double) -> list[str]:
    return [body["destination"] for body in exolve.bodies]


async def test_everybody_gets_it_at_ten_where_they_are_once_a_year(begin: Begin) -> None:
    world = await begin(at("2026-12-01T12:00+00:00"))
    exolve = await world.vendor(vendor("exolve"), EXOLVE_KEY="api_key")
    await world.follow(PAGE, "Prepare")  # known before the automation was
    await world.follow(PAGE, "The automation")
    await world.quiet()
    await world.follow(PAGE, "Try it first")
    await world.follow(PAGE, "Let it happen")  # known after it
    await world.quiet()
    assert exolve.received == []

    await world.pass_until(at("2026-12-03T10:00+09:00") - MARGIN_MS)
    assert told(exolve) == []
    await world.pass_until(at("2026-12-03T10:00+09:00") + MARGIN_MS)
    assert told(exolve) == ["79160000018"]
    await world.pass_until(at("2026-12-03T10:00+03:00") - MARGIN_MS)
    assert told(exolve) == ["79160000018"]
    await world.pass_until(at("2026-12-03T10:00+03:00") + MARGIN_MS)
    assert told(exolve) == ["79160000018", "79161234567"]
    assert exolve.bodies[1] == {
        "number": "79581234567",
        "destination": "79161234567",
        "text": "Анна, с днём рождения! Скидка 15 % по коду BDAY15 до конца недели.",
    }
    await world.follow(PAGE, "Why")

    await world.pass_until(at("2027-12-03T09:59+03:00"))
    assert told(exolve)[2:] == ["79160000018"]
    await world.pass_until(at("2027-12-03T10:01+03:00"))
    assert told(exolve)[2:] == ["79160000018", "79161234567"]


async def test_a_birthday_that_is_corrected_moves_and_29_february_is_the_28th_in_other_years(begin: Begin) -> None:
    world = await begin(at("2027-01-10T12:00+00:00"))
    exolve = await world.vendor(vendor("exolve"), EXOLVE_KEY="api_key")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.quiet()
    await world.person("u-17", set={"birthday": "1992-02-29"})
    await world.pass_until(at("2027-02-28T09:59+03:00"))
    assert told(exolve) == []
    await world.pass_until(at("2027-02-28T10:01+03:00"))
    assert told(exolve) == ["79161234567"]
    await world.pass_until(at("2027-12-04T10:00+03:00"))
    assert told(exolve) == ["79161234567"]
    await world.pass_until(at("2028-02-29T10:01+03:00"))
    assert told(exolve) == ["79161234567", "79161234567"]
