"""What a source of kind broker is told: which broker, where, and what of it. Pure: connects to nothing.

Settings hold no credentials. Those come beside them, or inside the URL that a caller gives, and are stored sealed.
"""

import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import unquote

from msgspec import Meta, Struct

from posthorn.errors import Invalid

_URL = re.compile(r"([a-z]+)://(?:([^@/?#]*)@)?([^@/?#]+)(?:/([^/?#]*))?")
_SERVER = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?))(?::([0-9]{1,5}))?"
)
_UNCLEAR = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\]")
_MOST_SERVERS = 10

BrokerUrl: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4096)]
KafkaTopic: TypeAlias = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}(?![\s\S])")]
# NATS cuts its subjects at dots and keeps streams as files, so their names have neither dots nor slashes.
NatsName: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x20\x7f.*>/\\]{1,200}(?![\s\S])")]
NatsSubject: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x20\x7f]{1,255}(?![\s\S])")]
PlainName: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}(?![\s\S])")]
RedisKey: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,1024}(?![\s\S])")]
Start: TypeAlias = Literal["earliest", "latest"]


class _Broker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="type"):
    """What all brokers share. `ca` (PEM) is trusted in the place of the system's authorities."""

    url: BrokerUrl
    ca: Annotated[str, Meta(max_length=65_536)] | None = None


class KafkaBroker(_Broker, frozen=True, kw_only=True, tag="kafka"):
    """Topics of a Kafka cluster: `kafka://a:9092,b:9092`, or `ssl://` for TLS. Nodes share a consumer group."""

    topics: Annotated[tuple[KafkaTopic, ...], Meta(min_length=1, max_length=50)]
    group: PlainName | None = None  #: None is a group of the source's own
    start: Start = "earliest"  #: where a group begins that has no offsets yet
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None


class RabbitMqBroker(_Broker, frozen=True, kw_only=True, tag="rabbitmq"):
    """A queue of RabbitMQ that exists: `amqp://host/vhost`, or `amqps://`. Nodes share the queue."""

    queue: PlainName


class NatsBroker(_Broker, frozen=True, kw_only=True, tag="nats"):
    """A stream of NATS JetStream: `nats://a,b`, or `tls://`. Nodes share a durable pull consumer."""

    stream: NatsName
    subject: NatsSubject | None = None  #: None is everything in the stream
    durable: NatsName | None = None  #: None is a consumer of the source's own
    start: Start = "earliest"  #: where a consumer begins that does not exist yet


class RedisBroker(_Broker, frozen=True, kw_only=True, tag="redis"):
    """A Redis stream: `redis://host/0`, or `rediss://`. Nodes share a consumer group."""

    stream: RedisKey
    group: PlainName | None = None  #: None is a group of the source's own
    start: Start = "earliest"  #: where a group begins that does not exist yet
    payload_field: PlainName | None = None
    """The entry's field that is the payload; None makes one JSON object of all fields."""


BrokerSettings = KafkaBroker | RabbitMqBroker | NatsBroker | RedisBroker

#: By scheme: whether the connection is encrypted, and the port when the URL names none.
_SCHEMES: dict[type[_Broker], dict[str, tuple[bool, int]]] = {
    KafkaBroker: {"kafka": (False, 9092), "ssl": (True, 9093)},
    RabbitMqBroker: {"amqp": (False, 5672), "amqps": (True, 5671)},
    NatsBroker: {"nats": (False, 4222), "tls": (True, 4222)},
    RedisBroker: {"redis": (False, 6379), "rediss": (True, 6379)},
}
#: Kafka and NATS clients are told several servers of one cluster.
_CLUSTERED = (KafkaBroker, NatsBroker)


class BrokerCredentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What Posthorn proves itself to a broker with. Stored sealed; never logged, never shown."""

    username: Annotated[str, Meta(max_length=1024)] | None = None
    password: Annotated[str, Meta(max_length=8192)] | None = None
    token: Annotated[str, Meta(max_length=8192)] | None = None  #: NATS only

    def __repr__(self) -> str:
        return "BrokerCredentials(…)"

    def values(self) -> tuple[str, ...]:
        """Return what must never be shown."""
        return tuple(value for value in (self.username, self.password, self.token) if value)


NO_CREDENTIALS = BrokerCredentials()


class BrokerAddress(Struct, frozen=True, kw_only=True):
    """A broker's URL taken apart. `url` is without credentials; `path` is the vhost or database, decoded."""

    url: str
    is_tls: bool
    servers: tuple[tuple[str, int], ...]
    path: str | None
    credentials: BrokerCredentials | None

    @property
    def authority(self) -> tuple[bool, frozenset[tuple[str, int]]]:
        """Whom credentials are shown to: they are good for this and nothing else."""
        return self.is_tls, frozenset(self.servers)


def address_of(broker: BrokerSettings) -> BrokerAddress:
    """Take a broker's URL apart, strictly. Raises Invalid at ("broker", "url"); the message repeats nothing of it."""
    found = None if _UNCLEAR.search(broker.url) else _URL.fullmatch(broker.url)
    schemes = _SCHEMES[type(broker)]
    if found is None or found[1] not in schemes:
        one_of = " or ".join(f"{scheme}://" for scheme in schemes)
        raise _invalid(f"write {one_of}, a host, and nothing that needs a query or a fragment")
    scheme, user_info, authority, path = found.groups()
    is_tls, port = schemes[scheme]
    servers = tuple(_server(text, port) for text in authority.split(","))
    if len(servers) > (_MOST_SERVERS if isinstance(broker, _CLUSTERED) else 1):
        raise _invalid("too many hosts: Kafka and NATS take up to ten, RabbitMQ and Redis one")
    return BrokerAddress(
        url=f"{scheme}://{authority}" + (f"/{path}" if path is not None else ""),
        is_tls=is_tls,
        servers=servers,
        path=_path(broker, path),
        credentials=_credentials(broker, user_info),
    )


def _server(text: str, default_port: int) -> tuple[str, int]:
    found = _SERVER.fullmatch(text)
    if found is None:
        raise _invalid("a host is a name or an address, with a port behind a colon; IPv6 stands in brackets")
    port = int(found[3]) if found[3] is not None else default_port
    if not 1 <= port <= 65_535:
        raise _invalid("a port is a number from 1 to 65535")
    return (found[1] or found[2]).lower(), port


def _path(broker: BrokerSettings, path: str | None) -> str | None:
    if not path:
        return None
    match broker:
        case RabbitMqBroker():
            return unquote(path)
        case RedisBroker() if path.isascii() and path.isdigit() and len(path) <= 5:
            return path
        case RedisBroker():
            raise _invalid("what follows the host is the number of the database")
        case _:
            raise _invalid("nothing may follow the host")


def _credentials(broker: BrokerSettings, user_info: str | None) -> BrokerCredentials | None:
    if not user_info:
        return None
    username, colon, password = user_info.partition(":")
    if not colon and isinstance(broker, NatsBroker):
        return BrokerCredentials(token=unquote(username))
    return BrokerCredentials(username=unquote(username) or None, password=unquote(password) if colon else None)


def _invalid(msg: str) -> Invalid:
    return Invalid.at("broker", "url", msg=msg)
