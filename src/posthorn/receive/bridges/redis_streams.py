"""Redis Streams: a consumer group that the nodes share, and entries of dead nodes taken over.

https://redis.io/docs/latest/develop/data-types/streams/
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, ClassVar

import msgspec
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from posthorn.engine.brokers import RedisBroker
from posthorn.receive.bridges.link import Link, Server
from posthorn.receive.bridges.port import ANSWER_SECONDS, WAIT_SECONDS, BrokerMessage, BrokerUnavailable, Unreadable

IDLE_MS = 60_000
"""An entry that was given out so long ago and is not acknowledged belongs to a node that died."""
_LOOK_FOR_DEAD_SECONDS = 30.0


class _Pinned(Connection):
    """A connection to one judged address, with the certificate checked for the name that the URL has."""

    def __init__(self, *, tls: SSLContext | None = None, name: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls
        self._name = name

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments: dict[str, Any] = {"host": self.host, "port": self.port}
        return arguments if self._tls is None else arguments | {"ssl": self._tls, "server_hostname": self._name}


class RedisStreamClient:
    """Consumes one stream as one consumer, named after the node, of a group."""

    protocol: ClassVar[str] = "REDIS"

    def __init__(self, settings: RedisBroker, link: Link, *, idle_ms: int = IDLE_MS) -> None:
        self._settings = settings
        self._link = link
        self._idle_ms = idle_ms
        self._group = link.shared_name(settings.group)
        self._redis: Redis | None = None
        self._resuming = True
        self._look_at = 0.0

    async def open(self) -> None:
        """Connect, and make the group when it does not exist."""
        self._redis = await self._link.reach(self._connected)
        start = "0" if self._settings.start == "earliest" else "$"
        async with self._told():
            try:
                await self._redis.xgroup_create(self._settings.stream, self._group, id=start, mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def receive(self, most: int) -> list[BrokerMessage]:
        """Return what this consumer was given before and lost, then what dead ones left, then what is new."""
        async with self._told():
            if self._resuming:
                entries = await self._read("0", most)
                self._resuming = bool(entries)
            else:
                entries = await self._abandoned(most) or await self._read(">", most)
        return [self._message(identifier, fields) for identifier, fields in entries]

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Take the entries off the group's list of what is pending."""
        async with self._told():
            await self._client.xack(self._settings.stream, self._group, *[message.receipt for message in messages])

    async def close(self) -> None:
        """Leave the group if nothing is pending here, and disconnect."""
        redis, self._redis = self._redis, None
        if redis is None:
            return
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self._leave(redis)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await redis.aclose()
                await redis.connection_pool.disconnect()

    async def _leave(self, redis: Redis) -> None:
        """Delete this consumer, which nobody will be again. What is pending would be lost with it, and stays."""
        stream, name = self._settings.stream, self._link.node.encode()
        for consumer in await redis.xinfo_consumers(stream, self._group):
            if consumer["name"] == name and not consumer["pending"]:
                await redis.xgroup_delconsumer(stream, self._group, self._link.node)

    @property
    def _client(self) -> Redis:
        if self._redis is None:
            raise BrokerUnavailable("not connected to Redis")
        return self._redis

    async def _connected(self, server: Server) -> Redis:
        credentials = self._link.credentials
        pool = ConnectionPool(
            connection_class=_Pinned,
            max_connections=1,
            host=server.address,
            port=server.port,
            tls=self._link.tls_context(),
            name=server.host,
            db=int(self._link.address.path or 0),
            username=credentials.username,
            password=credentials.password,
            client_name=self._link.node,
            # In protocol 3 a server may tell its clients to move to another address, which nobody judged.
            protocol=2,
            socket_connect_timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        redis = Redis(connection_pool=pool)
        try:
            async with self._told():
                await redis.ping()
        except BaseException:
            await pool.disconnect()
            raise
        return redis

    async def _read(self, after: str, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: Any = await self._client.xreadgroup(
            self._group,
            self._link.node,
            {self._settings.stream: after},
            count=most,
            block=int(WAIT_SECONDS * 1000) if after == ">" else None,
        )
        return [entry for _, entries in found or () for entry in entries]

    async def _abandoned(self, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return []
        claimed: Any = await self._client.xautoclaim(
            self._settings.stream, self._group, self._link.node, min_idle_time=self._idle_ms, count=most
        )
        entries: list[tuple[bytes, dict[bytes, bytes]]] = claimed[1]
        if not entries:
            self._look_at = now + _LOOK_FOR_DEAD_SECONDS
        return entries

    def _message(self, identifier: bytes, fields: dict[bytes, bytes] | None) -> BrokerMessage:
        text = identifier.decode()
        body, unreadable = self._body(fields)
        payload_field = (self._settings.payload_field or "").encode()
        return BrokerMessage(
            place=f"{self._settings.stream}/{text}",
            subject=self._settings.stream,
            headers=tuple((name.lower(), value) for name, value in (fields or {}).items() if name != payload_field)
            if payload_field
            else (),
            body=body,
            key=f"{self._settings.stream}/{text}",
            occurred_ms=int(text.partition("-")[0]),
            receipt=identifier,
            unreadable=unreadable,
        )

    def _body(self, fields: dict[bytes, bytes] | None) -> tuple[bytes, Unreadable | None]:
        if not fields:
            return b"", Unreadable(cause="payload_missing", detail="the entry was deleted before it was read")
        if self._settings.payload_field is not None:
            body = fields.get(self._settings.payload_field.encode())
            if body is not None:
                return body, None
            detail = f"the entry has no field {self._settings.payload_field}"
            return _lines(fields), Unreadable(cause="payload_missing", detail=detail)
        try:
            return msgspec.json.encode({name.decode(): value.decode() for name, value in fields.items()}), None
        except UnicodeDecodeError:
            detail = "the entry has bytes that are not UTF-8, which JSON cannot hold; name its payloadField"
            return _lines(fields), Unreadable(cause="payload_not_text", detail=detail)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Raise what the library raises as ours."""
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(self._link.masked(error)) from None


def _lines(fields: dict[bytes, bytes]) -> bytes:
    """Keep an entry from which no payload can be taken."""
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields.items())
