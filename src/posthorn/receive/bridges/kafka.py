"""Kafka: a consumer group that the nodes share; offsets are committed by hand.

https://kafka.apache.org/documentation/#consumerconfigs
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Protocol

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]
from aiokafka.client import AIOKafkaClient, ConnectionGroup  # type: ignore[import-untyped]
from aiokafka.cluster import ClusterMetadata  # type: ignore[import-untyped]
from aiokafka.conn import AIOKafkaConnection  # type: ignore[import-untyped]
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError  # type: ignore[import-untyped]
from aiokafka.structs import BrokerMetadata, TopicPartition  # type: ignore[import-untyped]

from posthorn.engine.brokers import KafkaBroker
from posthorn.receive.bridges.link import Link, Refused
from posthorn.receive.bridges.port import ANSWER_SECONDS, WAIT_SECONDS, BrokerMessage, BrokerUnavailable

_JOIN_SECONDS = 60.0  # a group that is shared anew waits for all of its members


class Consumer(Protocol):
    """What is used of the library's consumer; tests stand in for a cluster with it."""

    async def start(self) -> None:
        """Connect and join the group."""
        ...

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        ...

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Any]]:
        """Return records by topic and partition."""
        ...

    async def commit(self, offsets: Mapping[Any, int]) -> None:
        """Store the offset of the next record of each partition."""
        ...


class KafkaClient:
    """Consumes topics as one member of a group."""

    protocol: ClassVar[str] = "KAFKA"

    def __init__(
        self, settings: KafkaBroker, link: Link, *, make: Callable[[KafkaBroker, Link], Consumer] | None = None
    ) -> None:
        self._settings = settings
        self._link = link
        self._make = make or library_consumer
        self._consumer: Consumer | None = None

    async def open(self) -> None:
        """Connect and join the group."""
        # Which of the servers are permitted is known before anything is dialled, and checked again for each.
        await self._link.servers()
        self._consumer = self._make(self._settings, self._link)
        async with self._told():
            try:
                async with asyncio.timeout(_JOIN_SECONDS):
                    await self._consumer.start()
            except TimeoutError:
                raise BrokerUnavailable(f"the group could not be joined in {_JOIN_SECONDS:.0f} s") from None

    async def receive(self, most: int) -> list[BrokerMessage]:
        """Return records of the partitions that this member has."""
        async with self._told():
            found = await self._member.getmany(timeout_ms=int(WAIT_SECONDS * 1000), max_records=most)
        return [_message(record) for records in found.values() for record in records]

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Commit the offset behind the last record of each partition."""
        offsets: dict[Any, int] = {}
        for message in messages:
            topic, partition, offset = message.receipt
            offsets[TopicPartition(topic, partition)] = offset + 1
        async with self._told():
            # The group was shared anew meanwhile, and another member has the partition: it gets these records too,
            # and finds them claimed. Connecting anew would share the group anew once more.
            with contextlib.suppress(CommitFailedError, IllegalStateError):
                await self._member.commit(offsets)

    async def close(self) -> None:
        """Leave the group, so that the others take the partitions over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS / 2):
                    await consumer.stop()

    @property
    def _member(self) -> Consumer:
        if self._consumer is None:
            raise BrokerUnavailable("not connected to Kafka")
        return self._consumer

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Raise what the library raises as ours."""
        try:
            yield
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            raise BrokerUnavailable(self._link.masked(error)) from None


def library_consumer(settings: KafkaBroker, link: Link) -> Consumer:
    """Make the library's consumer, which dials nothing but what is permitted."""
    credentials, tls = link.credentials, link.tls_context()
    encryption = "SSL" if tls is not None else "PLAINTEXT"
    shared: dict[str, Any] = {
        "bootstrap_servers": [f"{_bracketed(host)}:{port}" for host, port in link.address.servers],
        "client_id": link.node,
        "request_timeout_ms": int(ANSWER_SECONDS * 1000),
        "ssl_context": tls,
        "security_protocol": f"SASL_{encryption}" if settings.sasl_mechanism is not None else encryption,
        "sasl_mechanism": settings.sasl_mechanism or "PLAIN",
        "sasl_plain_username": credentials.username,
        "sasl_plain_password": credentials.password,
    }
    consumer: Any = AIOKafkaConsumer(
        group_id=link.shared_name(settings.group),
        auto_offset_reset=settings.start,
        enable_auto_commit=False,
        # What an aborted transaction wrote never happened.
        isolation_level="read_committed",
        **shared,
    )
    consumer._client = _PermittedClient(link, **shared)  # noqa: SLF001 - it takes no client of ours
    consumer.subscribe(list(settings.topics))
    return consumer  # type: ignore[no-any-return]


class _PinnedCluster(ClusterMetadata):  # type: ignore[misc]
    """What the library knows of its cluster, with nodes under the addresses that were judged."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pinned: dict[Any, BrokerMetadata] = {}

    def broker_metadata(self, broker_id: Any) -> Any:
        """Return a node as it was judged, and before that as the cluster named it."""
        return self.pinned.get(broker_id) or self.named(broker_id)

    def named(self, broker_id: Any) -> Any:
        """Return a node as the cluster names it."""
        return super().broker_metadata(broker_id)


class _PermittedClient(AIOKafkaClient):  # type: ignore[misc]
    """The library's client, which asks before it connects: a cluster names the servers that its clients go to.

    Over plain connections it dials the address that was judged. Over TLS it must keep the name, because the name is
    what the certificate is checked for; a name that suddenly leads elsewhere fails there before anything is sent.
    """

    def __init__(self, link: Link, **options: Any) -> None:
        super().__init__(**options)
        self._link = link
        self.cluster = _PinnedCluster(metadata_max_age_ms=self._metadata_max_age_ms)

    async def bootstrap(self) -> None:
        """Connect to one of the servers that the source names."""
        servers = await self._link.servers()
        names = dict.fromkeys(
            (server.host if self._link.address.is_tls else server.address, server.port) for server in servers
        )
        self._bootstrap_servers = [f"{_bracketed(host)}:{port}" for host, port in names]
        await super().bootstrap()

    async def _get_conn(self, node_id: Any, **options: Any) -> AIOKafkaConnection | None:
        present = self._conns.get((node_id, options.get("group", ConnectionGroup.DEFAULT)))
        if present is not None and present.connected():
            return present
        self.cluster.pinned.pop(node_id, None)
        named = self.cluster.named(node_id)
        if named is not None:
            permitted = await self._link.permits(named.host, named.port)
            if isinstance(permitted, Refused):
                return None
            if not self._link.address.is_tls:
                self.cluster.pinned[node_id] = named._replace(host=permitted[0])
        return await super()._get_conn(node_id, **options)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _message(record: Any) -> BrokerMessage:
    place = f"{record.topic}/{record.partition}/{record.offset}"
    return BrokerMessage(
        place=place,
        subject=record.topic,
        headers=tuple((name.lower().encode(), value or b"") for name, value in record.headers),
        body=record.value or b"",
        # The time is part of the key, because a topic that is deleted and made again counts from zero again.
        key=f"{place}@{record.timestamp}",
        occurred_ms=record.timestamp,
        receipt=(record.topic, record.partition, record.offset),
    )
