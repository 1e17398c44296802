"""From a source to the client of its broker. The brokers' libraries are imported here, when a source needs them."""

from importlib.util import find_spec

import msgspec

from posthorn.engine.brokers import (
    NO_CREDENTIALS,
    BrokerCredentials,
    BrokerSettings,
    KafkaBroker,
    NatsBroker,
    RabbitMqBroker,
    RedisBroker,
    address_of,
)
from posthorn.engine.resources import Source
from posthorn.receive.bridges.link import Link, Permits
from posthorn.receive.bridges.port import BrokerClient, BrokerUnavailable
from posthorn.vault import KeyRing

_LIBRARIES: dict[type, str] = {
    KafkaBroker: "aiokafka",
    RabbitMqBroker: "aio_pika",
    NatsBroker: "nats",
    RedisBroker: "redis",
}


def missing_library(settings: BrokerSettings) -> str | None:
    """Say what must be installed before this broker can be used, None when everything is there."""
    library = _LIBRARIES[type(settings)]
    if find_spec(library) is not None:
        return None
    return f"the library {library} is not installed here: install Posthorn with its extra `brokers`, posthorn[brokers]"


def opened_credentials(source: Source, key_ring: KeyRing) -> BrokerCredentials:
    """Open a source's credentials. Raises VaultError when no key of the ring does."""
    if source.broker_sealed is None:
        return NO_CREDENTIALS
    return msgspec.json.decode(key_ring.open(source.broker_sealed, context=source.id), type=BrokerCredentials)


def client_of(source: Source, *, key_ring: KeyRing, permits: Permits, node: str) -> BrokerClient:
    """Make the client of a source's broker, not connected yet. Raises BrokerUnavailable, VaultError."""
    settings = source.broker
    if settings is None:
        raise BrokerUnavailable("the source names no broker")
    missing = missing_library(settings)
    if missing is not None:
        raise BrokerUnavailable(missing)
    link = Link(
        source=source.id,
        node=node,
        settings=settings,
        address=address_of(settings),
        credentials=opened_credentials(source, key_ring),
        permits=permits,
    )
    return _client(settings, link)


def _client(settings: BrokerSettings, link: Link) -> BrokerClient:
    # An optional library must not be needed by those who have no such broker.
    match settings:
        case KafkaBroker():
            from posthorn.receive.bridges.kafka import KafkaClient  # noqa: PLC0415 - see above

            return KafkaClient(settings, link)
        case RabbitMqBroker():
            from posthorn.receive.bridges.rabbitmq import RabbitMqClient  # noqa: PLC0415 - see above

            return RabbitMqClient(settings, link)
        case NatsBroker():
            from posthorn.receive.bridges.jetstream import JetStreamClient  # noqa: PLC0415 - see above

            return JetStreamClient(settings, link)
        case RedisBroker():
            from posthorn.receive.bridges.redis_streams import RedisStreamClient  # noqa: PLC0415 - see above

            return RedisStreamClient(settings, link)
