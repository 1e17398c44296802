"""/api/v1/source for brokers: checked when it is made, and its credentials never shown again."""

import json
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from served import World

from posthorn.api.sources import BrokerState, source_out
from posthorn.deliver.transport import AddressPolicy
from posthorn.deliver.transport.resolver import NotResolved
from posthorn.engine.brokers import RedisBroker
from posthorn.engine.marks import MASK
from posthorn.manage.broker_rules import broker_gate
from posthorn.manage.sources import SourceRecord
from posthorn.receive.bridges.bridge import BridgeState
from posthorn.receive.bridges.link import Refused
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import a_source

NATS = {"type": "nats", "url": "nats://nats.example.com", "stream": "ORDERS"}
KAFKA = {"type": "kafka", "url": "kafka://a.example.com,b.example.com:9094", "topics": ["orders"]}
REDIS = {"type": "redis", "url": "redis://redis.example.com", "stream": "orders"}
RABBITMQ = {"type": "rabbitmq", "url": "amqp://rabbit.example.com", "queue": "orders"}
LOGIN = {"username": "posthorn", "password": "s3cret-value"}


async def made(http: httpx.AsyncClient, broker: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await http.post("/source", json={"name": "x", "broker": broker, **fields})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("broker", [NATS, KAFKA, REDIS, RABBITMQ], ids=lambda broker: broker["type"])
async def test_a_brokers_source_has_its_settings_and_no_address(
    http: httpx.AsyncClient, world: World, broker: dict[str, Any]
) -> None:
    source = await made(http, broker)
    assert (source["kind"], source["url"], source["brokerCredentials"], source["brokerState"]) == (
        "broker",
        None,
        None,
        None,
    )
    assert broker.items() <= source["broker"].items()
    stored = world.directory.source(source["id"])
    assert stored is not None
    assert stored.token_digest == f"broker:{source['id']}"
    assert (await http.get(f"/source/{source['id']}")).json() == source


async def test_credentials_in_the_url_are_sealed_and_never_shown(http: httpx.AsyncClient, world: World) -> None:
    source = await made(http, REDIS | {"url": "redis://posthorn:s3cret%2Dvalue@redis.example.com:6380/3"})
    assert source["broker"]["url"] == "redis://redis.example.com:6380/3"
    assert source["brokerCredentials"] == MASK
    stored = world.directory.source(source["id"])
    assert stored is not None
    assert "s3cret" not in json.dumps(source) + repr(stored)
    assert stored.broker_sealed is not None
    opened = world.services.sources._keyring.open(stored.broker_sealed, context=stored.id)
    assert json.loads(opened) == LOGIN | {"token": None}


async def test_credentials_are_kept_until_they_are_replaced_or_cleared(http: httpx.AsyncClient, world: World) -> None:
    source = await made(http, NATS, brokerCredentials=LOGIN)
    path = f"/source/{source['id']}"

    def sealed() -> str | None:
        stored = world.directory.source(source["id"])
        return stored.broker_sealed if stored is not None else None

    first = sealed()
    assert (await http.patch(path, json={"broker": NATS | {"subject": "orders.>"}})).status_code == 200
    assert (await http.put(path, json={"name": "y", "broker": NATS})).status_code == 200
    assert sealed() == first
    assert (await http.patch(path, json={"brokerCredentials": {"token": "t0ken"}})).status_code == 200
    assert sealed() not in {first, None}
    answer = await http.patch(path, json={"brokerCredentials": None})
    assert (answer.json()["brokerCredentials"], sealed()) == (None, None)


@pytest.mark.parametrize("url", ["nats://evil.example.com", "nats://nats.example.com:4333"])
async def test_kept_credentials_are_not_taken_to_another_server(http: httpx.AsyncClient, url: str) -> None:
    source = await made(http, NATS, brokerCredentials=LOGIN)
    path = f"/source/{source['id']}"
    answer = await http.patch(path, json={"broker": NATS | {"url": url}})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "brokerCredentials"])
    assert (await http.get(path)).json() == source
    answer = await http.patch(path, json={"broker": NATS | {"url": url}, "brokerCredentials": LOGIN})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"broker": {"type": "pigeon"}}, ["broker", "type"]),
        ({"broker": NATS | {"more": 1}}, ["broker", "more"]),
        ({"broker": NATS | {"url": "http://nats.example.com"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "redis://nats.example.com"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://nats.example.com/x"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://a b"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://a:0"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://127.0.0.1"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://[::1]:4222"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://localhost"}}, ["broker", "url"]),
        ({"broker": NATS | {"url": "nats://2130706433"}}, ["broker", "url"]),
        ({"broker": KAFKA | {"url": "kafka://a.example.com,169.254.169.254"}}, ["broker", "url"]),
        ({"broker": REDIS | {"url": "redis://redis.example.com:22"}}, ["broker", "url"]),
        ({"broker": REDIS | {"url": "redis://redis.example.com/first"}}, ["broker", "url"]),
        ({"broker": REDIS | {"url": "redis://a.example.com,b.example.com"}}, ["broker", "url"]),
        ({"broker": RABBITMQ | {"url": "amqp://r.example.com/?cafile=/etc/passwd"}}, ["broker", "url"]),
        ({"broker": NATS | {"stream": "a.b"}}, ["broker", "stream"]),
        ({"broker": KAFKA | {"topics": []}}, ["broker", "topics"]),
        ({"broker": KAFKA | {"topics": ["a b"]}}, ["broker", "topics", 0]),
        ({"broker": NATS | {"url": "tls://nats.example.com", "ca": "no PEM"}}, ["broker", "ca"]),
        ({"broker": NATS | {"ca": "no TLS"}}, ["broker", "ca"]),
        ({"broker": KAFKA, "brokerCredentials": LOGIN}, ["broker", "saslMechanism"]),
        ({"broker": KAFKA | {"saslMechanism": "PLAIN"}}, ["brokerCredentials", "username"]),
        ({"broker": NATS, "brokerCredentials": {"username": "u"}}, ["brokerCredentials", "password"]),
        ({"broker": NATS, "brokerCredentials": LOGIN | {"token": "t"}}, ["brokerCredentials", "token"]),
        ({"broker": REDIS, "brokerCredentials": {"token": "t"}}, ["brokerCredentials", "token"]),
        ({"broker": REDIS, "brokerCredentials": {"username": "u"}}, ["brokerCredentials", "password"]),
        ({"broker": NATS | {"url": "nats://u:p@a"}, "brokerCredentials": LOGIN}, ["brokerCredentials"]),
        ({"broker": NATS, "verification": {"type": "bearer"}, "secrets": ["s"]}, ["verification"]),
        ({"broker": NATS, "secrets": ["s"]}, ["secrets"]),
        ({"broker": NATS, "answer": {"status": 200}}, ["answer"]),
        ({"brokerCredentials": LOGIN}, ["broker"]),
    ],
)
async def test_a_wrong_broker_is_refused_at_its_place(
    http: httpx.AsyncClient, fields: dict[str, Any], loc: list[str | int]
) -> None:
    answer = await http.post("/source", json={"name": "x", **fields})
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", *loc]]
    assert "s3cret" not in answer.text
    assert (await http.get("/source")).json()["data"] == []


async def test_an_address_never_becomes_a_broker_nor_a_broker_an_address(http: httpx.AsyncClient) -> None:
    inbox = (await http.post("/source", json={"name": "inbox"})).json()
    broker = await made(http, NATS)
    assert inbox["kind"] == "inbox"
    assert inbox["broker"] is None
    for source, change in (
        (inbox, {"broker": NATS}),
        (broker, {"broker": None}),
        (inbox, {"brokerCredentials": LOGIN}),
    ):
        assert (await http.patch(f"/source/{source['id']}", json=change)).status_code == 422
    assert (await http.put(f"/source/{broker['id']}", json={"name": "x"})).status_code == 422
    for action, body in (("address/rotate", {}), ("secret/rotate", {"secret": "s"})):
        answer = await http.post(f"/source/{broker['id']}/{action}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await http.get(f"/source/{broker['id']}")).json() == broker


class Names:
    """A resolver that knows two names."""

    async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
        known = {"public.test": ("8.8.8.8", "2606:4700::1111"), "mixed.test": ("8.8.8.8", "10.0.0.7")}
        return known.get(host, NotResolved(is_temporary=False))

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("host", "port", "allow", "may"),
    [
        ("public.test", 4222, None, True),
        ("public.test", 6379, None, True),
        ("public.test", 22, None, False),
        ("mixed.test", 4222, None, False),
        ("mixed.test", 4222, "10.0.0.0/8", True),
        ("unknown.test", 4222, None, False),
    ],
)
async def test_a_bridge_connects_only_to_names_of_which_every_address_is_allowed(
    host: str, port: int, allow: str | None, may: bool
) -> None:
    policy = AddressPolicy(allow=(ip_network(allow),) if allow else ())
    permitted = await broker_gate(policy, Names())(host, port)
    assert isinstance(permitted, tuple) is may
    if isinstance(permitted, Refused):
        assert permitted.detail


def test_the_state_of_a_bridge_is_shown_with_its_source() -> None:
    source = a_source(broker=RedisBroker(url="redis://r", stream="s"))
    bridge = BridgeState(status="broker_unavailable", since_ms=START_MS, detail="refused")
    shown = source_out(SourceRecord(source=source, url=None, secrets=(), bridge=bridge))
    assert shown.broker_state == BrokerState(
        status="broker_unavailable", since="2026-01-01T00:00:00.000Z", detail="refused"
    )
