"""Story 2: the fifth flight earns ten points, exactly once."""

import asyncio
from typing import Any

from msgspec import Struct
from story_instants import at
from story_pages import Page
from story_world import Begin, StoryWorld
from vendor_street import Double

from posthorn.testing.vendors import Call, Received, Reply, Vendor
from posthorn.testing.vendors.double import bearer, stop

PAGE = Page("fifth-flight")
TOKEN = "loyalty token"


class Credit(Struct, forbid_unknown_fields=True):
    points: int
    reason: str
    booking: str


def _key(received: Received, _now_ms: int) -> str | None:
    return None if received.headers.get("idempotency-key", "").startswith("dlv_") else "there is no Idempotency-Key"


AIRLINE = Vendor(
    connector="airline",
    host="loyalty.airline.example",
    credentials={"token": TOKEN},
    authorized=bearer(TOKEN),
    unauthorized=stop(status=401),
    calls=(Call(action="credit", path="/v1/members/[^/]+/credits", json=Credit, check=_key, answer=Reply()),),
)


async def prepared(begin: Begin) -> tuple[StoryWorld, Double]:
    world = await begin(at("2026-11-22T10:00+00:00"))
    airline = await world.vendor(AIRLINE, LOYALTY_TOKEN="token")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    return world, airline


def credits_of(airline: Double) -> list[tuple[str, Any]]:
    return [
        (received.path.split("/")[3], body) for received, body in zip(airline.received, airline.bodies, strict=True)
    ]


async def test_the_page_holds(begin: Begin) -> None:
    world, airline = await prepared(begin)
    await world.follow(PAGE, "Try it first")
    assert airline.received == []
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    assert credits_of(airline) == [("p-5", {"points": 10, "reason": "fifth flight", "booking": "LX5"})]


async def test_bookings_at_once_and_repeated_calls_earn_one_credit_for_each_passenger(begin: Begin) -> None:
    world, airline = await prepared(begin)
    bookings = [(f"p-{passenger}", f"B{passenger}-{number}") for number in range(9) for passenger in range(8)]

    async def book(passenger: str, booking: str) -> None:
        event = {"id": booking, "type": "flight_booked", "user": passenger, "data": {"booking": booking}}
        for _ in range(2):
            assert (await world.http.post("/event", json=event)).is_success

    await asyncio.gather(*[book(*booking) for booking in bookings])
    await world.quiet()
    credited = [passenger for passenger, _ in credits_of(airline)]
    assert sorted(credited) == sorted({passenger for passenger, _ in bookings})
    for passenger in credited:
        counted = (await world.get(f"/profile/{passenger}"))["counters"]["flight_booked"]["count"]
        assert counted == 9


async def test_a_lost_answer_repeats_the_request_with_the_same_key(begin: Begin) -> None:
    world, airline = await prepared(begin)
    airline.answer_next(Reply(status=500))
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.pass_time(7)
    assert len(airline.received) == 2
    keys = {received.headers["idempotency-key"] for received in airline.received}
    assert (len(keys), airline.bodies[0]) == (1, airline.bodies[1])
    await world.pass_time(3600)
    assert len(airline.received) == 2
