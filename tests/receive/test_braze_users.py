"""Braze's user data requests: what each object changes, who is meant, and the answers that Braze gives."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiving_world import Answered, World

from posthorn.clock import HOUR_MS, iso_text
from posthorn.engine.marks import HOPS_HEADER
from posthorn.engine.people import Device, ProfileChange, Subscription
from posthorn.engine.records import Event
from posthorn.receive.capture import MOST_HOPS
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import WORKSPACE

NOBODY = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
NOTHING_VALID = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
BAD_IDENTIFIER = (
    "identifiers must be objects with an 'external_id' property that is a string, or 'user_alias' property that is"
    " an object"
)
TIME = "2025-12-06T19:20:45+01:00"
ALIAS = {"alias_name": "device/1", "alias_label": "my label"}
EVENT = {"external_id": "u1", "name": "rented_movie", "time": TIME}
PURCHASE = {"external_id": "u1", "product_id": "sku", "currency": "USD", "price": 12.12, "time": TIME}


@pytest.fixture
def world() -> World:
    return World()


async def post(world: World, path: str, body: Any, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.call(world.users, f"/users/{path}", body, named)


async def attributes(world: World, fields: dict[str, Any]) -> tuple[Event, ProfileChange]:
    """Send one attributes object, which must be taken, and return its event and change."""
    answered = await post(world, "track", {"attributes": [{"external_id": "u1"} | fields]})
    assert (answered.status, answered.json) == (201, {"attributes_processed": 1, "message": "success"})
    event = world.stored()[-1]
    return event, world.changes(event)


async def wrong(world: World, array: str, fields: Any) -> str:
    """Send one object, which must be left out, and return why."""
    answered = await post(world, "track", {array: [fields]})
    assert (answered.status, answered.json["message"]) == (400, NOTHING_VALID)
    [error] = answered.json["errors"]
    assert (error["input_array"], error["index"]) == (array, 0)
    assert world.stored() == []
    return str(error["type"])


async def test_attributes_become_an_event_identify_that_changes_the_profile(world: World) -> None:
    event, change = await attributes(
        world,
        {
            "first_name": "Jon",
            "email": "jon@example.com",
            "points": {"inc": -10},
            "tags": {"add": ["x"], "remove": ["y", 1]},
            "loved": {"add": "one"},
            "likes": ["a", "b"],
            "gone": None,
            "born": {"$time": "1990-01-02"},
            "_update_existing_only": True,
        },
    )
    assert change == ProfileChange(
        set={"first_name": "Jon", "email": "jon@example.com", "likes": ["a", "b"], "gone": None, "born": "1990-01-02"},
        increment={"points": -10},
        add={"tags": ["x"], "loved": ["one"]},
        remove={"tags": ["y", 1]},
        existing_only=True,
    )
    assert (event.type, event.user, event.workspace) == ("identify", "u1", WORKSPACE)
    assert json.loads(event.payload or b"")["points"] == {"inc": -10}
    assert "external_id" not in json.loads(event.payload or b"")
    [work] = world.store._tables.undecided.values()
    assert work.profile == f"{WORKSPACE}/user/u1"


async def test_special_attributes_become_subscriptions_time_zone_locale_and_devices(world: World) -> None:
    event, change = await attributes(
        world,
        {
            "email_subscribe": "opted_in",
            "push_subscribe": "unsubscribed",
            "subscription_groups": [{"subscription_group_id": "g-1", "subscription_state": "subscribed"}],
            "time_zone": "America/New_York",
            "language": "en",
            "country": "us",
            "phone": "+15043277269",
            "push_tokens": [{"app_id": "a", "token": "secret-token", "device_id": "d1"}],
        },
    )
    assert change == ProfileChange(
        set={"language": "en", "country": "us", "phone": "+15043277269"},
        subscriptions={
            "email": Subscription.OPTED_IN,
            "push": Subscription.UNSUBSCRIBED,
            "g-1": Subscription.SUBSCRIBED,
        },
        time_zone="America/New_York",
        locale="en-US",
        devices=(Device(id="d1", push_token="secret-token", seen_ms=START_MS),),
    )
    assert b"secret-token" not in (event.payload or b"")


async def test_an_unknown_time_zone_is_left_out_and_the_rest_is_taken(world: World) -> None:
    _, change = await attributes(world, {"time_zone": "Eastern", "a": 1})
    assert change == ProfileChange(set={"a": 1})


async def test_a_token_without_a_device_names_the_same_device_again(world: World) -> None:
    _, first = await attributes(world, {"push_tokens": [{"app_id": "a", "token": "t"}]})
    _, again = await attributes(world, {"push_tokens": [{"app_id": "a", "token": "t"}]})
    assert first.devices == again.devices
    assert first.devices[0].id != "t"


async def test_an_object_replaces_an_attribute_and_is_merged_only_on_request(world: World) -> None:
    nested = {"profile": {"name": "x", "deep": {"n": 1, "at": {"$time": "2025-01-01"}}, "empty": {}}}
    _, change = await attributes(world, nested)
    assert change.set == {"profile": {"name": "x", "deep": {"n": 1, "at": "2025-01-01"}, "empty": {}}}
    _, change = await attributes(world, nested | {"_merge_objects": True})
    assert change.set == {
        "profile.name": "x",
        "profile.deep.n": 1,
        "profile.deep.at": "2025-01-01",
        "profile.empty": {},
    }


async def test_objects_are_added_to_an_array_of_objects(world: World) -> None:
    _, change = await attributes(world, {"pets": {"$add": [{"id": 1, "name": "Rex"}]}})
    assert change == ProfileChange(add={"pets": [{"id": 1, "name": "Rex"}]})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"email_subscribe": "yes"}, "'email_subscribe' is not valid"),
        ({"push_subscribe": ["x"]}, "'push_subscribe' is not valid"),
        ({"subscription_groups": [{"subscription_group_id": "g"}]}, "'subscription_groups' is not valid"),
        ({"subscription_groups": "g"}, "'subscription_groups' is not valid"),
        ({"push_tokens": [{}]}, "'push_tokens' is not valid"),
        ({"points": {"inc": "1"}}, "'points' is not valid: 'inc' must be a number"),
        ({"points": {"inc": True}}, "'points' is not valid: 'inc' must be a number"),
        ({"tags": {"add": [[1]]}}, "'tags' is not valid: arrays are one-dimensional"),
        (
            {"pets": {"$update": []}},
            "'pets' is not valid: of the operators on arrays of objects only '$add' is known here",
        ),
        (
            {"_merge_objects": True, "a": {"b.c": 1}},
            "'a' is not valid: it cannot be merged, set it as a whole",
        ),
        ({"x" * 257: 1}, "attribute names have 1 to 256 characters"),
        ({"_update_existing_only": "no"}, "'_update_existing_only' is not valid"),
    ],
)
async def test_an_attributes_object_with_a_wrong_part_is_left_out(
    world: World, fields: dict[str, Any], expected: str
) -> None:
    assert await wrong(world, "attributes", {"external_id": "u1"} | fields) == expected


@pytest.mark.parametrize(
    ("who", "user", "existing_only"),
    [
        ({"external_id": "u1"}, "u1", False),
        ({"external_id": "u1", "_update_existing_only": True}, "u1", True),
        ({"user_alias": ALIAS}, "$alias/my label/device/1", True),
        ({"user_alias": ALIAS, "_update_existing_only": False}, "$alias/my label/device/1", False),
        ({"user_alias": {"alias_label": "a/b", "alias_name": "c"}}, "$alias/a%2Fb/c", True),
        ({"email": "Jon@Example.com", "phone": "+1 504 3277269"}, "$alias/email/jon@example.com", False),
        ({"phone": "+1 (504) 327-7269"}, "$alias/phone/+15043277269", False),
    ],
)
async def test_a_person_is_named_by_id_alias_email_or_phone(
    world: World, who: dict[str, Any], user: str, existing_only: bool
) -> None:
    answered = await post(world, "track", {"attributes": [who | {"a": 1}]})
    assert answered.status == 201
    [event] = world.stored()
    assert (event.user, world.changes(event).existing_only) == (user, existing_only)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ({}, NOBODY),
        ({"external_id": None}, NOBODY),
        ({"external_id": ""}, "'external_id' is not valid"),
        ({"external_id": 7}, "'external_id' is not valid"),
        ({"external_id": "u" * 513}, "'external_id' is too long"),
        (
            {"external_id": "u", "user_alias": ALIAS},
            "only one of 'external_id', 'braze_id' or 'user_alias' may be given",
        ),
        ({"user_alias": "x"}, "'user_alias' is not valid"),
        ({"user_alias": {"alias_label": "x"}}, "'alias_name' is not valid"),
        (
            {"braze_id": "b"},
            "'braze_id' is not valid: people here have no Braze ID, name them by 'external_id' or 'user_alias'",
        ),
        ({"email": "nobody"}, "'email' is not valid"),
        ({"phone": "call me"}, "'phone' is not valid"),
    ],
)
@pytest.mark.parametrize("array", ["attributes", "events", "purchases"])
async def test_an_object_that_names_nobody_is_left_out(
    world: World, array: str, who: dict[str, Any], expected: str
) -> None:
    rest = {"attributes": {"a": 1}, "events": EVENT, "purchases": PURCHASE}[array]
    assert await wrong(world, array, {name: v for name, v in rest.items() if name != "external_id"} | who) == expected


async def test_an_event_keeps_its_properties_byte_for_byte(world: World) -> None:
    body = b'{"events":[{"external_id":"u1","name":" rented movie ","time":"%b","properties":{ "n": 5.0 }}]}'
    answered = await post(world, "track", body % TIME.encode())
    assert (answered.status, answered.json) == (201, {"events_processed": 1, "message": "success"})
    [event] = world.stored()
    assert (event.type, event.user, event.payload) == ("rented movie", "u1", b'{ "n": 5.0 }')
    assert iso_text(event.occurred_ms) == "2025-12-06T18:20:45.000Z"
    assert event.context is None


async def test_a_purchase_is_an_event_with_product_price_and_quantity(world: World) -> None:
    answered = await post(world, "track", {"purchases": [PURCHASE | {"properties": {"color": "red"}}]})
    assert answered.json == {"purchases_processed": 1, "message": "success"}
    [event] = world.stored()
    assert (event.type, json.loads(event.payload or b"")) == (
        "purchase",
        {"product_id": "sku", "currency": "USD", "price": 12.12, "quantity": 1, "properties": {"color": "red"}},
    )


async def test_an_event_of_somebody_known_by_email_tells_the_email_to_the_profile(world: World) -> None:
    event = {"email": "a@b.example", "name": "e", "time": TIME}
    await post(world, "track", {"events": [event]})
    assert world.changes(world.stored()[0]) == ProfileChange(set_once={"email": "a@b.example"})


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (iso_text(START_MS + HOUR_MS), START_MS),
        ("2013-07-16T19:20:30+1:00", 1373998830000),
        ("2013-07-16T19:20:30:123Z", 1374002430123),
        ("2013-07-16", 1373932800000),
    ],
)
async def test_times_are_read_as_braze_writes_them_and_future_ones_are_now(
    world: World, time: str, expected: int
) -> None:
    await post(world, "track", {"events": [EVENT | {"time": time}]})
    assert world.stored()[0].occurred_ms == expected


@pytest.mark.parametrize(
    ("array", "fields", "expected"),
    [
        ("events", {"name": None}, "'name' is required"),
        ("events", {"name": 7}, "'name' is not valid"),
        ("events", {"time": None}, "'time' is required"),
        ("events", {"time": "soon"}, "'time' is not valid"),
        ("events", {"properties": []}, "'properties' is not valid"),
        ("purchases", {"product_id": None}, "'product_id' is required"),
        ("purchases", {"product_id": "x" * 256}, "'product_id' is not valid"),
        ("purchases", {"currency": "dollars"}, "'currency' is not valid"),
        ("purchases", {"price": "1"}, "'price' is not valid"),
        ("purchases", {"quantity": 101}, "'quantity' is not valid"),
        ("purchases", {"quantity": 0}, "'quantity' is not valid"),
        ("purchases", {"time": "soon"}, "'time' is not valid"),
        ("purchases", {"properties": 1}, "'properties' is not valid"),
    ],
)
async def test_an_event_or_purchase_with_a_wrong_part_is_left_out(
    world: World, array: str, fields: dict[str, Any], expected: str
) -> None:
    assert await wrong(world, array, (EVENT if array == "events" else PURCHASE) | fields) == expected


async def test_one_wrong_object_costs_only_itself_and_is_named(world: World) -> None:
    body = {
        "attributes": [{"external_id": "u1", "a": 1}, {"a": 1}, 7],
        "events": [EVENT, EVENT],
        "purchases": [PURCHASE | {"quantity": 0}],
        "partner": "x",
    }
    answered = await post(world, "track", body)
    assert answered.status == 201
    assert answered.json == {
        "attributes_processed": 1,
        "events_processed": 2,
        "purchases_processed": 0,
        "message": "success",
        "errors": [
            {"type": NOBODY, "input_array": "attributes", "index": 1},
            {"type": "the object is not valid JSON", "input_array": "attributes", "index": 2},
            {"type": "'quantity' is not valid", "input_array": "purchases", "index": 0},
        ],
    }
    assert [event.type for event in world.stored()] == ["identify", "rented_movie", "rented_movie"]
    assert [event.id for event in world.stored()] == sorted(event.id for event in world.stored())


@pytest.mark.parametrize("body", [{}, {"attributes": []}, {"attributes": None}])
async def test_a_request_with_nothing_in_it_is_refused(world: World, body: Any) -> None:
    answered = await post(world, "track", body)
    assert (answered.status, answered.json) == (400, {"message": NOTHING_VALID, "errors": []})


async def test_seventy_five_objects_of_a_kind_are_taken_and_not_one_more(world: World) -> None:
    body = {"attributes": [{"external_id": "u", "a": 1}] * 75, "events": [EVENT] * 75}
    assert (await post(world, "track", body)).json["attributes_processed"] == 75
    answered = await post(world, "track", body | {"events": [EVENT] * 76})
    assert (answered.status, answered.json["message"]) == (400, "'events' may contain at most 75 objects, not 76")
    assert len(world.stored()) == 150


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"events":{}}', b'{"events":["\xff"]}'])
async def test_a_body_that_cannot_be_read_is_refused_in_brazes_form(world: World, body: bytes) -> None:
    answered = await post(world, "track", body)
    assert answered.status == 400
    assert answered.json["message"]
    assert answered.json["errors"]


async def test_a_call_that_goes_round_in_a_loop_is_refused(world: World) -> None:
    answered = await post(world, "track", {"events": [EVENT]}, **{HOPS_HEADER: str(MOST_HOPS)})
    assert (answered.status, world.stored()) == (508, [])


async def test_without_a_key_nothing_is_taken(world: World) -> None:
    answered = await post(world, "track", {"events": [EVENT]}, authorization="Bearer wrong")
    assert (answered.status, answered.json["errors"]) == (401, [])
    assert answered.json["message"]
    assert world.stored() == []


async def test_a_body_over_the_limit_is_refused(world: World) -> None:
    answered = await post(world, "track", b" " * (4 * 1024 * 1024 + 1))
    assert answered.status == 413


async def test_while_the_store_is_down_the_sender_is_told_to_come_back(world: World) -> None:
    world.store.commits_left = 0
    answered = await post(world, "track", {"events": [EVENT]})
    assert (answered.status, answered.headers["retry-after"]) == (503, "5")


async def test_events_are_counted_twice_without_a_key_and_once_under_one(world: World) -> None:
    body = {"events": [EVENT, EVENT | {"name": "b"}], "attributes": [{"a": 1}]}
    for _ in range(2):
        await post(world, "track", body)
    assert len(world.stored()) == 4
    first = await post(world, "track", body, idempotency_key="k")
    again = await post(world, "track", body, idempotency_key="k")
    assert (again.status, again.json) == (201, first.json)
    assert len(world.stored()) == 6
    other = await post(world, "track", {"events": [EVENT]}, idempotency_key="k")
    assert (other.status, len(world.stored())) == (409, 6)


async def test_the_synchronous_path_answers_alike(world: World) -> None:
    answered = await post(world, "track/sync", {"events": [EVENT]})
    assert (answered.status, answered.json) == (201, {"events_processed": 1, "message": "success"})


async def test_an_alias_is_added_to_a_user_or_made_for_somebody_new(world: World) -> None:
    aliases = [ALIAS | {"external_id": "u1"}, ALIAS, {"alias_name": "x"}]
    answered = await post(world, "alias/new", {"user_aliases": aliases})
    assert answered.status == 201
    assert answered.json == {
        "aliases_processed": 2,
        "message": "success",
        "errors": [{"type": "'alias_label' is not valid", "input_array": "user_aliases", "index": 2}],
    }
    first, second = world.stored()
    assert (first.type, first.user, world.changes(first)) == (
        "alias", "$alias/my label/device/1", ProfileChange(merge_into="u1"),
    )  # fmt: skip
    assert world.changes(second) == ProfileChange()


async def test_the_unidentified_become_users(world: World) -> None:
    body = {
        "aliases_to_identify": [{"external_id": "u1", "user_alias": ALIAS}],
        "emails_to_identify": [{"external_id": "u2", "email": "a@b.example", "prioritization": ["identified"]}],
        "phone_numbers_to_identify": [{"external_id": "u3", "phone": "+15043277269"}],
    }
    answered = await post(world, "identify", body)
    assert (answered.status, answered.json) == (201, {"aliases_processed": 3, "message": "success"})
    moved = [(event.user, world.changes(event).merge_into) for event in world.stored()]
    assert moved == [
        ("$alias/my label/device/1", "u1"), ("$alias/email/a@b.example", "u2"), ("$alias/phone/+15043277269", "u3"),
    ]  # fmt: skip


async def test_users_are_merged(world: World) -> None:
    merges = [
        {"identifier_to_merge": {"external_id": "old"}, "identifier_to_keep": {"external_id": "new"}},
        {"identifier_to_merge": {"user_alias": ALIAS}, "identifier_to_keep": {"external_id": "new"}},
    ]
    answered = await post(world, "merge", {"merge_updates": merges})
    assert (answered.status, answered.json) == (202, {"message": "success"})
    assert [event.user for event in world.stored()] == ["old", "$alias/my label/device/1"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'merge_updates' must be an array of objects"),
        ({"merge_updates": {}}, "'merge_updates' must be an array of objects"),
        ({"merge_updates": []}, "'merge_updates' must be an array of objects"),
        ({"merge_updates": [{}] * 51}, "a single request may not contain more than 50 merge updates"),
        (
            {"merge_updates": [{"identifier_to_merge": {}}]},
            "'merge_updates' must only have 'identifier_to_merge' and 'identifier_to_keep'",
        ),
        (
            {"merge_updates": [{"identifier_to_merge": {}, "identifier_to_keep": {}}]},
            BAD_IDENTIFIER,
        ),
        (
            {
                "merge_updates": [
                    {"identifier_to_merge": {"external_id": "a"}, "identifier_to_keep": {"external_id": "a"}}
                ]
            },
            "a user cannot be merged into itself",
        ),
    ],
)
async def test_a_wrong_merge_is_refused_whole_in_brazes_words(world: World, body: Any, message: str) -> None:
    answered = await post(world, "merge", body)
    assert (answered.status, answered.json["message"]) == (400, message)
    assert world.stored() == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["inc", "add", "$add", "$time", "a", "b.c", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["external_id", "user_alias", "email", "a", "points", "time_zone", "language", "push_tokens", "email_subscribe",
     "subscription_groups", "_merge_objects", "_update_existing_only", "name", "time", "properties"]
)  # fmt: skip


@given(st.dictionaries(NAMES, ANYTHING, max_size=6), st.sampled_from(["attributes", "events", "purchases"]))
def test_whatever_an_object_holds_it_is_taken_whole_or_named(fields: dict[str, Any], array: str) -> None:
    async def send() -> None:
        world = World()
        rest = {"attributes": {"external_id": "u"}, "events": EVENT, "purchases": PURCHASE}[array]
        answered = await post(world, "track", {array: [rest | fields]})
        assert answered.status in {201, 400}
        assert len(world.stored()) == (1 if answered.status == 201 else 0)
        for event in world.stored():
            assert isinstance(json.loads(event.payload or b""), dict)
            if event.context is not None:
                world.changes(event)

    asyncio.run(send())
