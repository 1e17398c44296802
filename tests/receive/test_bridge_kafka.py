"""Kafka against stand-ins: a consumer in memory, and a server that speaks just enough to name other servers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError, KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionResponse_v0, ApiVersionResponse_v1
from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.protocol.types import Int16, Int32
from aiokafka.structs import ConsumerRecord, TopicPartition

from posthorn.engine.brokers import NO_CREDENTIALS, BrokerCredentials, KafkaBroker, address_of
from posthorn.receive.bridges.kafka import KafkaClient, _PermittedClient, library_consumer
from posthorn.receive.bridges.link import Link, Permits, Refused
from posthorn.receive.bridges.port import BrokerUnavailable

SETTINGS = KafkaBroker(url="kafka://127.0.0.1:9", topics=("orders", "returns"))


async def loopback(host: str, port: int) -> tuple[str, ...] | Refused:
    return ("127.0.0.1",)


def link(settings: KafkaBroker = SETTINGS, *, permits: Permits = loopback, **overrides: Any) -> Link:
    fields: dict[str, Any] = {
        "source": "src_k",
        "node": "node",
        "settings": settings,
        "address": address_of(settings),
        "credentials": NO_CREDENTIALS,
        "permits": permits,
    }
    return Link(**(fields | overrides))


def record(topic: str, partition: int, offset: int, **overrides: Any) -> ConsumerRecord[bytes, bytes]:
    fields: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": 1_767_225_600_000,
        "timestamp_type": 0,
        "key": b"k",
        "value": b"{}",
        "checksum": None,
        "serialized_key_size": 1,
        "serialized_value_size": 2,
        "headers": (("Kind", b"paid"),),
    }
    return ConsumerRecord(**(fields | overrides))


@dataclass
class FakeConsumer:
    records: dict[TopicPartition, list[Any]] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    failure: Exception | None = None
    started: bool = False

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.started = False

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[Any, Any]:
        return self.records

    async def commit(self, offsets: Mapping[Any, int]) -> None:
        if self.failure is not None:
            raise self.failure
        self.committed |= offsets


async def opened(consumer: FakeConsumer) -> KafkaClient:
    client = KafkaClient(SETTINGS, link(), make=lambda _settings, _link: consumer)
    await client.open()
    return client


async def test_records_are_named_by_topic_partition_offset_and_time() -> None:
    client = await opened(FakeConsumer({TopicPartition("orders", 3): [record("orders", 3, 7, value=None)]}))
    [message] = await client.receive(500)
    assert (message.place, message.key) == ("orders/3/7", "orders/3/7@1767225600000")
    assert (message.subject, message.headers, message.body) == ("orders", ((b"kind", b"paid"),), b"")


async def test_the_offset_behind_the_last_record_of_each_partition_is_committed_and_not_before() -> None:
    consumer = FakeConsumer(
        {
            TopicPartition("orders", 0): [record("orders", 0, 5), record("orders", 0, 6)],
            TopicPartition("returns", 1): [record("returns", 1, 40)],
        }
    )
    client = await opened(consumer)
    messages = await client.receive(500)
    assert consumer.committed == {}
    await client.acknowledge(messages)
    assert consumer.committed == {TopicPartition("orders", 0): 7, TopicPartition("returns", 1): 41}
    await client.close()
    assert not consumer.started


async def test_a_group_that_was_shared_anew_does_not_end_the_membership() -> None:
    consumer = FakeConsumer({TopicPartition("orders", 0): [record("orders", 0, 5)]}, failure=CommitFailedError("moved"))
    client = await opened(consumer)
    await client.acknowledge(await client.receive(500))
    assert consumer.started


async def test_any_other_failure_is_told_as_ours() -> None:
    consumer = FakeConsumer({TopicPartition("orders", 0): [record("orders", 0, 5)]}, failure=KafkaConnectionError())
    client = await opened(consumer)
    with pytest.raises(BrokerUnavailable, match="KafkaConnectionError"):
        await client.acknowledge(await client.receive(500))


async def test_nothing_is_made_for_servers_that_are_not_permitted() -> None:
    async def nothing(host: str, port: int) -> tuple[str, ...] | Refused:
        return Refused("closed")

    def make(_settings: KafkaBroker, _link: Link) -> FakeConsumer:
        raise AssertionError

    with pytest.raises(BrokerUnavailable, match="closed"):
        await KafkaClient(SETTINGS, link(permits=nothing), make=make).open()


async def test_the_librarys_consumer_is_set_to_commit_by_hand_as_one_of_the_sources_group() -> None:
    settings = KafkaBroker(url="kafka://127.0.0.1:9", topics=("orders",), sasl_mechanism="SCRAM-SHA-512")
    credentials = BrokerCredentials(username="u", password="p")
    consumer: Any = library_consumer(settings, link(settings, credentials=credentials))
    try:
        assert (consumer._enable_auto_commit, consumer._group_id) == (False, "posthorn-src_k")
        assert consumer.subscription() == {"orders"}
        assert isinstance(consumer._client, _PermittedClient)
        assert consumer._client._security_protocol == "SASL_PLAINTEXT"
        assert (consumer._client._sasl_mechanism, consumer._client._sasl_plain_username) == ("SCRAM-SHA-512", "u")
    finally:
        await consumer.stop()


class NamingServer:
    """Answers which versions it speaks and which servers its cluster has; counts who connects."""

    def __init__(self) -> None:
        self.nodes: list[tuple[int, str, int]] = []
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["NamingServer"]:
        server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                size = Int32.decode(BytesIO(await reader.readexactly(4)))
                asked = BytesIO(await reader.readexactly(size))
                kind, version, correlation = Int16.decode(asked), Int16.decode(asked), Int32.decode(asked)
                answer = Int32.encode(correlation) + self._answer(kind, version)
                writer.write(Int32.encode(len(answer)) + answer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def _answer(self, kind: int, version: int) -> bytes:
        if kind == ApiVersionResponse_v0.API_KEY:
            versions = [(3, 0, 0), (18, 0, 0)]
            made = ApiVersionResponse_v1(0, versions, 0) if version else ApiVersionResponse_v0(0, versions)
            return bytes(made.encode())
        return bytes(MetadataResponse_v0(self.nodes, []).encode())


async def test_servers_that_the_cluster_names_are_judged_too_and_dialled_where_they_were_judged() -> None:
    asked: list[tuple[str, int]] = []

    async def permits(host: str, port: int) -> tuple[str, ...] | Refused:
        asked.append((host, port))
        return Refused("closed") if host == "internal.test" else ("127.0.0.1",)

    async with NamingServer().open() as first, NamingServer().open() as secret, NamingServer().open() as good:
        first.nodes = [(1, "internal.test", secret.port), (2, "good.test", good.port)]
        settings = KafkaBroker(url=f"kafka://boot.test:{first.port}", topics=("orders",))
        client = _PermittedClient(link(settings, permits=permits))
        try:
            await client.bootstrap()
            assert not await client.ready(1)
            assert await client.ready(2)
        finally:
            await client.close()
        assert (first.connections, secret.connections, good.connections) == (1, 0, 1)
    assert asked == [("boot.test", first.port), ("internal.test", secret.port), ("good.test", good.port)]
