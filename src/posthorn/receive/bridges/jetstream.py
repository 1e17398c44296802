"""NATS JetStream: a durable pull consumer that the nodes share.

https://docs.nats.io/nats-concepts/jetstream/consumers
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from posthorn.engine.brokers import NatsBroker
from posthorn.receive.bridges.link import Link, Server
from posthorn.receive.bridges.port import (
    ANSWER_SECONDS,
    WAIT_SECONDS,
    BrokerMessage,
    BrokerUnavailable,
    finished_before,
)

ACK_WAIT_SECONDS = 60
"""A message that is not acknowledged for so long is given to somebody again."""
_PULL_SECONDS = 5.0
_SLACK_SECONDS = 2.0
_PENDING_BYTES = 256 * 1024 * 1024
_STATUS = "Status"
_OVER = frozenset({"404", "408"})  # no messages, or the request's time is over
_HEARTBEAT = "100"


class _Client(Client):
    """The library's client, without what it does behind our back: it would send credentials in plain over `tls://`."""

    needs_tls = False

    def _connect_command(self) -> bytes:
        # The server says whether it wants TLS, and whoever sits in between may say that it does not.
        if self.needs_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS, which tls:// asks for")
        return super()._connect_command()


class JetStreamClient:
    """Pulls from one consumer of one stream."""

    protocol: ClassVar[str] = "NATS"

    def __init__(self, settings: NatsBroker, link: Link, *, ack_wait_seconds: float = ACK_WAIT_SECONDS) -> None:
        self._settings = settings
        self._link = link
        self._ack_wait_seconds = ack_wait_seconds
        self._durable = link.shared_name(settings.durable)
        self._client: Client | None = None
        self._inbox = ""
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._asked = 0
        self._asked_until = 0.0

    async def open(self) -> None:
        """Connect, and make the durable consumer when it does not exist."""
        self._client = client = await self._link.reach(self._connected)
        async with self._told():
            await self._ensure_consumer(client)
            self._inbox = client.new_inbox()
            await client.subscribe(self._inbox, cb=self._arrived.put, pending_bytes_limit=_PENDING_BYTES)

    async def receive(self, most: int) -> list[BrokerMessage]:
        """Return what has arrived; ask for more when nothing is under way."""
        messages: list[BrokerMessage] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self._ask(most)
                self._sort(await self._arrived.get(), messages)
        while len(messages) < most and not self._arrived.empty():
            self._sort(self._arrived.get_nowait(), messages)
        if not messages and self._connection.is_closed:
            raise BrokerUnavailable(self._last_error(self._connection))
        return messages

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Acknowledge each, and wait until the server has read it."""
        client = self._connection
        async with self._told():
            for message in messages:
                await message.receipt.ack()
            # The library waits for its whole time when the connection is lost meanwhile.
            if not await finished_before(self._ended, client.flush(timeout=int(ANSWER_SECONDS))):
                raise BrokerUnavailable(self._last_error(client))

    async def close(self) -> None:
        """Disconnect. The durable consumer stays for the other nodes and the next start."""
        client, self._client = self._client, None
        if client is not None:
            await _closed(client)

    @property
    def _connection(self) -> Client:
        if self._client is None:
            raise BrokerUnavailable("not connected to NATS")
        return self._client

    async def _connected(self, server: Server) -> Client:
        self._ended.clear()  # a server that was tried before said so of its own connection
        client = _Client()
        client.needs_tls = self._link.address.is_tls
        credentials = self._link.credentials
        try:
            async with self._told():
                await client.connect(
                    _url(server),
                    name=self._link.node,
                    user=credentials.username,
                    password=credentials.password,
                    token=credentials.token,
                    tls=self._link.tls_context(),
                    tls_hostname=server.host,
                    # A server names others of its cluster to go to, which nobody judged: we connect anew ourselves.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(ANSWER_SECONDS / 2),
                    ping_interval=20,
                    error_cb=_ignore,
                    closed_cb=self._on_closed,
                )
        except BaseException as error:
            reason = self._last_error(client) if client.last_error else str(error)
            await _closed(client)
            if isinstance(error, BrokerUnavailable):
                raise BrokerUnavailable(reason) from None
            raise
        return client

    async def _on_closed(self) -> None:
        self._ended.set()

    async def _ensure_consumer(self, client: Client) -> None:
        manager = client.jsm(timeout=ANSWER_SECONDS)
        settings = self._settings
        try:
            info = await manager.consumer_info(settings.stream, self._durable)
        except nats.js.errors.NotFoundError:
            info = await manager.add_consumer(
                settings.stream,
                ConsumerConfig(
                    name=self._durable,
                    durable_name=self._durable,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=self._ack_wait_seconds,
                    deliver_policy=DeliverPolicy.ALL if settings.start == "earliest" else DeliverPolicy.NEW,
                    filter_subject=settings.subject,
                ),
            )
        config = info.config
        if config.ack_policy != AckPolicy.EXPLICIT or config.deliver_subject is not None:
            raise BrokerUnavailable(
                f"the consumer {self._durable} exists and is no pull consumer with explicit acknowledgement: "
                "name another one, or none"
            )

    async def _ask(self, most: int) -> None:
        """Keep one request for messages open, so that a message that is published arrives at once."""
        now = asyncio.get_running_loop().time()
        if self._asked > 0 and now < self._asked_until:
            return
        wish = {"batch": most, "expires": int(_PULL_SECONDS * 1_000_000_000)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._settings.stream}.{self._durable}"
        async with self._told():
            await self._connection.publish(subject, msgspec.json.encode(wish), reply=self._inbox)
        self._asked = most
        self._asked_until = now + _PULL_SECONDS + _SLACK_SECONDS

    def _sort(self, msg: Msg, messages: list[BrokerMessage]) -> None:
        status = (msg.headers or {}).get(_STATUS)
        if status is None:
            self._asked -= 1
            messages.append(_message(msg))
        elif status in _OVER:
            self._asked = 0
        elif status != _HEARTBEAT:
            # Such as 409: the consumer was deleted, or the server is going down.
            description = (msg.headers or {}).get("Description", "")
            self._asked = 0
            if not messages:
                raise BrokerUnavailable(f"JetStream ended the request: {status} {description}")

    def _last_error(self, client: Client) -> str:
        error: Any = client.last_error
        return self._link.masked(error) if error is not None else "the connection to NATS was closed"

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Raise what the library raises as ours."""
        try:
            yield
        except nats.js.errors.NotFoundError:
            raise BrokerUnavailable(f"there is no stream {self._settings.stream}") from None
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            raise BrokerUnavailable(self._link.masked(error)) from None


def _url(server: Server) -> str:
    host = f"[{server.address}]" if ":" in server.address else server.address
    return f"nats://{host}:{server.port}"


async def _closed(client: Client) -> None:
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            await client.close()


async def _ignore(error: Exception) -> None:
    """Leave the reporting to whoever called: the library would write every lost connection to the log itself."""


def _message(msg: Msg) -> BrokerMessage:
    metadata = msg.metadata
    stored_ms = int(metadata.timestamp.timestamp() * 1000)
    headers = msg.headers or {}
    # The time is part of the key, because a stream that is deleted and made again counts from one again.
    own = f"{metadata.stream}/{metadata.sequence.stream}@{stored_ms}"
    return BrokerMessage(
        place=f"{metadata.stream}/{metadata.sequence.stream}",
        subject=msg.subject,
        headers=tuple((name.lower().encode(), value.encode()) for name, value in headers.items()),
        body=msg.data,
        key=headers.get("Nats-Msg-Id") or own,
        occurred_ms=stored_ms,
        receipt=msg,
    )
