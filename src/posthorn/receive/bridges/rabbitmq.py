"""RabbitMQ (AMQP 0-9-1): a queue that the nodes share.

https://www.rabbitmq.com/docs/confirms
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from aio_pika import Connection
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPError
from yarl import URL

from posthorn.engine.brokers import RabbitMqBroker
from posthorn.receive.bridges.link import Link, Server
from posthorn.receive.bridges.port import ANSWER_SECONDS, WAIT_SECONDS, BrokerMessage, BrokerUnavailable

PREFETCH = 1000
_HEARTBEAT_SECONDS = 30
_FAILURES = (AMQPError, OSError, TimeoutError, RuntimeError)


class _Pinned(TransportFactory):
    """Connects to one judged address, with the certificate checked for the name that the URL has."""

    def __init__(self, server: Server, link: Link) -> None:
        self._server = server
        self._link = link

    async def create(self, url: URL, **kwargs: Any) -> tuple[StreamReader, StreamWriter]:  # noqa: ARG002 - its port
        """Connect; the library's own URL only carries the credentials and the vhost."""
        tls = self._link.tls_context()
        return await asyncio.open_connection(
            self._server.address, self._server.port, ssl=tls, server_hostname=None if tls is None else self._server.host
        )


class RabbitMqClient:
    """Consumes one queue over one channel."""

    protocol: ClassVar[str] = "AMQP"

    def __init__(self, settings: RabbitMqBroker, link: Link) -> None:
        self._settings = settings
        self._link = link
        self._connection: Connection | None = None
        self._queue: AbstractQueue | None = None
        self._tag = ""
        self._arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._lost: str | None = None

    async def open(self) -> None:
        """Connect and consume the queue, which must exist: only its owner knows how it is to be declared."""
        self._connection = connection = await self._link.reach(self._connected)
        async with self._told():
            channel: Any = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=PREFETCH)
            channel.close_callbacks.add(self._on_lost)
            # The broker cancels a consumer whose queue was deleted; nothing would ever come again.
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._on_cancelled)
            self._queue = await channel.get_queue(self._settings.queue, ensure=True)
            self._tag = await self._queue.consume(self._arrived.put)

    async def receive(self, most: int) -> list[BrokerMessage]:
        """Return what the broker has pushed."""
        messages: list[BrokerMessage] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                self._sort(await self._arrived.get(), messages)
        while len(messages) < most and not self._arrived.empty():
            self._sort(self._arrived.get_nowait(), messages)
        if self._lost is not None:
            # What came over a channel that is gone cannot be acknowledged any more; it comes again.
            raise BrokerUnavailable(self._lost)
        return messages

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge up to the last one: a channel numbers its deliveries, and all before it are in these."""
        async with self._told():
            await messages[-1].receipt.ack(multiple=True)
        if self._lost is not None:
            raise BrokerUnavailable(self._lost)

    async def close(self) -> None:
        """Stop consuming and disconnect; the broker gives the others what was pushed and not acknowledged."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(WAIT_SECONDS):
                if self._queue is not None and self._lost is None:
                    await self._queue.cancel(self._tag)
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(WAIT_SECONDS):
                await connection.close()

    async def _connected(self, server: Server) -> Connection:
        connection = Connection(self._url(), client_properties={"connection_name": self._link.node})
        connection.kwargs["transport_factory"] = _Pinned(server, self._link)
        async with self._told():
            await connection.connect(timeout=ANSWER_SECONDS)
        return connection

    def _url(self) -> URL:
        credentials = self._link.credentials
        user = quote(credentials.username or "guest", safe="")
        password = quote(credentials.password or "guest", safe="")
        vhost = quote(self._link.address.path or "/", safe="")
        # Host and port are the transport's business. Nothing of a caller's text is parsed here: in a query, the
        # library would read the names of files.
        return URL(f"amqp://{user}:{password}@broker/{vhost}?heartbeat={_HEARTBEAT_SECONDS}", encoded=True)

    def _sort(self, arrived: AbstractIncomingMessage | None, messages: list[BrokerMessage]) -> None:
        if arrived is not None:
            messages.append(self._message(arrived))

    def _message(self, arrived: AbstractIncomingMessage) -> BrokerMessage:
        identifier = arrived.message_id
        return BrokerMessage(
            place=f"{self._settings.queue}/{identifier or arrived.delivery_tag}",
            subject=arrived.routing_key or self._settings.queue,
            headers=_headers(arrived),
            body=arrived.body,
            key=f"{self._settings.queue}/{identifier}" if identifier else None,
            occurred_ms=int(arrived.timestamp.timestamp() * 1000) if isinstance(arrived.timestamp, datetime) else None,
            receipt=arrived,
        )

    def _on_lost(self, _channel: Any, error: BaseException | None = None) -> None:
        self._end(self._link.masked(error) if error is not None else "the channel to RabbitMQ was closed")

    def _on_cancelled(self, _frame: Any) -> None:
        self._end(f"RabbitMQ ended the consumer of {self._settings.queue}: is the queue still there?")

    def _end(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._arrived.put_nowait(None)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Raise what the library raises as ours. It raises RuntimeError for a channel that was closed meanwhile."""
        try:
            yield
        except _FAILURES as error:
            raise BrokerUnavailable(self._lost or self._link.masked(error)) from None


def _headers(arrived: AbstractIncomingMessage) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header table's plain values, and the properties that HTTP has headers for."""
    found = [
        (name.lower().encode(), value if isinstance(value, bytes) else str(value).encode())
        for name, value in arrived.headers.items()
        if isinstance(value, str | bytes | int | float)
    ]
    named = {name for name, _ in found}
    properties = (
        ("content-type", arrived.content_type),
        ("content-encoding", arrived.content_encoding),
        ("message-id", arrived.message_id),
        ("type", arrived.type),
        ("routing-key", arrived.routing_key),
    )
    found += [(name.encode(), value.encode()) for name, value in properties if value and name.encode() not in named]
    return tuple(found)
