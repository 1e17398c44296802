"""Story 9: a beaten level is a signed credit in the client's own back end."""

import time
from collections.abc import Callable

from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError
from story_pages import Page
from story_world import Begin
from vendor_street import Double

from posthorn.testing.vendors import Call, Received, Reply, Vendor
from posthorn.testing.vendors.double import stop

PAGE = Page("level-beaten")


class Credit(Struct, forbid_unknown_fields=True, rename={"reason": "for"}):
    player: str
    coins: int
    reason: str


def back_end(verifies: Callable[[Received], bool]) -> Vendor:
    return Vendor(
        connector="game",
        host="game.example.com",
        credentials={},
        authorized=verifies,
        unauthorized=stop(status=401),
        calls=(Call(action="credit", path="/hooks/credits", json=Credit, answer=Reply(status=204)),),
    )


async def test_the_back_end_gets_one_signed_request_for_each_level(begin: Begin) -> None:
    world = await begin(time.time_ns() // 1_000_000)  # the library of Standard Webhooks looks at the machine's clock
    keys: list[str] = []

    def verifies(received: Received) -> bool:
        try:
            Webhook(keys[0]).verify(received.body, dict(received.headers))
        except WebhookVerificationError:
            return False
        return True

    game: Double = await world.vendor(back_end(verifies))
    await world.follow(PAGE, "Prepare")
    secret = (await world.follow(PAGE, "The automation"))[-1]
    keys.append(secret.json()["key"])
    await world.follow(PAGE, "Try it first")
    assert game.received == []
    game.answer_next(Reply(status=503))
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    await world.pass_time(7)
    expected = {"player": "player-3", "coins": 120, "for": "level 12"}
    assert game.bodies == [expected, expected]
    assert len({received.headers["webhook-id"] for received in game.received}) == 1
    await world.happen("level_beaten", "player-3", {"level": 13})
    await world.quiet()
    assert game.bodies[2:] == [{"player": "player-3", "coins": 130, "for": "level 13"}]
