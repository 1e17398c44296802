"""The names of the Braze dialect have the values that a person, an event and an automation really have."""

import msgspec
import pytest
from deciding_world import World

from posthorn.engine.flows import Once
from posthorn.engine.people import Device, EventContext, ProfileChange, Subscription
from posthorn.engine.resources import Cap, Workspace
from posthorn.testing.factories import WORKSPACE

ATTRIBUTES = {
    "first_name": "Anna",
    "date_of_birth": "1990-05-01",
    "city": "Riga",
    "country": "LV",
    "most_recent_location": {"latitude": 56.9},
    "set_user_to_unsubscribed_url": "https://shop.test/off",
    "set_user_to_subscribed_url": "https://shop.test/on",
    "set_user_to_opted_in_url": "https://shop.test/in",
}
OLD = Device(id="d1", platform="android", model="Pixel", os="14", app_version="1.0", seen_ms=1)
NEW = Device(id="d2", platform="ios", model="iPhone", os="17.1", browser="Safari", app_version="2.5", seen_ms=2)
CHANGES = ProfileChange(
    set=ATTRIBUTES,
    devices=(OLD, NEW),
    time_zone="Europe/Riga",
    locale="lv-LV",
    subscriptions={"email": Subscription.OPTED_IN, "grp-1": Subscription.UNSUBSCRIBED},
)
NAMES = [
    ("${set_user_to_unsubscribed_url}", "https://shop.test/off"),
    ("${set_user_to_subscribed_url}", "https://shop.test/on"),
    ("${set_user_to_opted_in_url}", "https://shop.test/in"),
    ("${unsubscribe_url}", "https://shop.test/off"),
    ("${date_of_birth}", "1990-05-01"),
    ("${braze_id}", "ann"),
    ("${user_id}", "ann"),
    ("${city}", "Riga"),
    ("${country}", "LV"),
    ("${most_recent_location}", '{"latitude":56.9}'),
    ("${most_recent_location}.latitude", "56.9"),
    ("${most_recent_app_version}", "2.5"),
    ("${most_recent_locale}", "lv_LV"),
    ("${language}", "lv"),
    ("${time_zone}", "Europe/Riga"),
    ("subscribed_state.${email_global}", "opted_in"),
    ("subscribed_state.${grp-1}", "unsubscribed"),
    ("most_recently_used_device.${id}", "d2"),
    ("most_recently_used_device.${platform}", "ios"),
    ("most_recently_used_device.${model}", "iPhone"),
    ("targeted_device.${os}", "17.1"),
    ("most_recently_used_device.${browser}", "Safari"),
    ("event_properties.${total}", "7"),
    ("context.${total}", "7"),
    ("canvas_entry_properties.${total}", "7"),
    ("api_trigger_properties.${total}", "7"),
    ("sms.${inbound_message_body}", "JOIN"),
    ("whats_app.${inbound_message_body}", "JOIN"),
    ("canvas.${api_id}", "auto_1"),
    ("campaign.${api_id}", "auto_1"),
]
WITHOUT_STEPS = [("campaign.${name}", "Shop"), ("campaign.${message_name}", "Shop"), ("canvas.${name}", "Shop")]
IN_A_STEP = [("campaign.${name}", "tell"), ("campaign.${message_name}", "tell"), ("canvas.${name}", "Shop")]
NEVER = [
    "app.${name}",
    "canvas.${variant_name}",
    "canvas.${variant_api_id}",
    "card.${name}",
    "most_recently_used_device.${carrier}",
    "most_recently_used_device.${idfa}",
    "most_recently_used_device.${google_ad_id}",
    "most_recently_used_device.${roku_ad_id}",
    "most_recently_used_device.${ad_tracking_enabled}",
    "most_recently_used_device.${foreground_push_enabled}",
]


@pytest.fixture
def world() -> World:
    return World()


def listing(names: list[str]) -> dict[str, object]:
    body = "\n".join(f"{{{{{name}}}}}" for name in names)
    return {"url": "https://a.test/", "dialect": "braze", "headers": {"Content-Type": "text/plain"}, "body": body}


async def printed(world: World) -> list[str]:
    context = msgspec.json.encode(EventContext(changes=CHANGES))
    await world.happen({"total": 7, "inbound_message_body": "JOIN"}, user="ann", context=context)
    await world.decide_all()
    [request] = world.requests()
    return (request.body or "").split("\n")


async def test_a_request_without_a_flow_fills_in_every_name(world: World) -> None:
    expected = dict(NAMES + WITHOUT_STEPS)
    await world.automation(name="Shop", send=listing(list(expected)))
    assert dict(zip(expected, await printed(world), strict=True)) == expected


async def test_a_step_of_a_flow_fills_in_every_name(world: World) -> None:
    expected = dict(NAMES + IN_A_STEP)
    step = {"type": "send", "name": "tell", "send": listing(list(expected))}
    automation = await world.flow(triggers=[{"type": "event", "eventType": "order.paid"}], steps=[step])
    await world.change(msgspec.structs.replace(automation, name="Shop"))
    assert dict(zip(expected, await printed(world), strict=True)) == expected


async def test_the_id_of_a_dispatch_is_that_of_the_delivery(world: World) -> None:
    await world.automation(send=listing(["campaign.${dispatch_id}"]))
    [shown] = await printed(world)
    assert [shown] == list(world.store._tables.deliveries)


async def test_names_of_what_is_kept_nowhere_print_nothing(world: World) -> None:
    await world.automation(send=listing(NEVER))
    assert await printed(world) == [""] * len(NEVER)


async def test_a_message_that_a_step_aborts_is_left_out_and_its_run_goes_on(world: World) -> None:
    cap = Cap(most=1, period="day")  # what is aborted counts for no cap
    await world.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, name="w", created_ms=0, updated_ms=0, caps=(cap,)))
    aborting = listing([]) | {"body": "{% abort_message('not today') %}"}
    steps = [
        {"type": "send", "name": "aborted", "waitForAnswer": True, "send": aborting},
        {"type": "send", "name": "after", "send": {"url": "https://a.test/after"}},
    ]
    await world.flow(triggers=[{"type": "event", "eventType": "order.paid"}], steps=steps, eligibility=Once())
    await world.happen()
    await world.decide_all()
    assert (world.urls(), world.runs(), world.outcomes()) == (
        ["https://a.test/after"],
        [("", "completed")],
        [("fired", "entered")],
    )
    assert world.footprints() == ["entered", "aborted", "queued", "completed"]
