"""A webhook of a shop that knows nothing of Posthorn starts an automation for the customer whom it names."""

import json
from typing import Any

import pytest
from posthorn_process import LOOPBACK, Launch, Posthorn, inbox_path
from raw_http import Api, Client
from recording_receiver import Receiver

ORDER: dict[str, Any] = {
    "id": 1007,
    "created_at": "2026-01-02T03:04:05+01:00",
    "total": 19.5,
    "customer": {"id": 42, "first_name": "Käthe", "email": "k@example.test"},
}
MAPPING = {
    "type": "fields",
    "user": {"field": "customer.id"},
    "eventType": {"header": "X-Shopify-Topic"},
    "time": {"field": "created_at"},
    "id": {"field": "id"},
    "attributes": {"name": {"field": "customer.first_name"}},
}


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, launch: Launch) -> Posthorn:
    """Serve over one store after the other."""
    flags = ("--database", request.getfixturevalue("postgres18_dsn")) if request.param == "postgres" else ()
    made = launch(flags=(*LOOPBACK, *flags))
    made.start()
    return made


async def test_a_webhook_through_a_mapping_starts_the_run_of_the_person_that_it_names(
    server: Posthorn, receiver: Receiver
) -> None:
    async with Api(server) as api, Client(server.inbox_port) as shop:
        source = await api.post("/source", {"name": "Shop", "eventType": "shop.other", "mapping": MAPPING})
        trigger = {"type": "event", "eventType": "orders_paid", "source": source["id"]}
        body = '{"user": {{ profile.id }}, "name": {{ profile.attributes.name }}, "total": {{ event.data.total }}}'
        thank = {"type": "send", "name": "thank", "send": {"url": receiver.url("/thank"), "body": body}}
        automation = {"name": "Thank", "uid": "thank", "flow": {"triggers": [trigger], "steps": [thank]}}
        await api.post("/automation", automation)

        for number, topic in (
            (1007, "orders/paid"),
            (1007, "orders/paid"),
            (1008, "orders/created"),
        ):  # one comes twice
            headers = [("content-type", "application/json"), ("x-shopify-topic", topic)]
            content = json.dumps(ORDER | {"id": number}).encode()
            assert (await shop.request("POST", inbox_path(source["url"]), headers, content)).status == 202

        [sent] = await receiver.wait_for_count("/thank", 1)
        assert json.loads(sent.body) == {"user": "42", "name": "Käthe", "total": 19.5}
        await api.eventually("/profile/42", lambda person: "orders_created" in person["counters"], get="get")
        person = await api.get("/profile/42")
        assert person["attributes"] == {"name": "Käthe"}
        assert person["counters"]["orders_paid"]["count"] == 1
        assert person["counters"]["orders_paid"]["firstAt"] == "2026-01-02T02:04:05.000Z"
        [run] = await api.rows("/automation/thank/run")
        assert (run["user"], run["state"]) == ("42", "completed")
        [decision] = await api.rows("/decision?automation=thank")
        assert (decision["outcome"], decision["reason"]) == ("fired", "entered")
    assert len(receiver.at("/thank")) == 1
