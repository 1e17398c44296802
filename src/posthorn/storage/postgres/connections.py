"""A small set of connections that mends itself: what breaks is dropped, what is missing is opened anew.

asyncpg's own pool resets each connection with a round trip, cancels a statement that takes too long (which turns a
commit that waits for a standby into a success that no standby has), and tries a dead first host until its time is
over. None of that may happen here.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # It ships no types.

from posthorn.errors import StoreUnavailable
from posthorn.storage.postgres.address import Address, Host
from posthorn.storage.postgres.failures import FOREIGN

_HOST_SECONDS = 3.0  # A host that is cut off must not keep us from the next one.
_QUEUE_SECONDS = 20.0
_STATEMENTS_KEPT = 512
# A cut network is noticed after 3 + 2 * 2 seconds of silence, or 8 seconds after something was sent.
_KEEPALIVE = (
    ("SO_KEEPALIVE", socket.SOL_SOCKET, 1),
    ("TCP_KEEPIDLE", socket.IPPROTO_TCP, 3),
    ("TCP_KEEPINTVL", socket.IPPROTO_TCP, 2),
    ("TCP_KEEPCNT", socket.IPPROTO_TCP, 2),
    ("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, 8000),
)


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types.
    """A connection that remembers the server's last warning."""

    __slots__ = ("warning",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.warning: str | None = None
        self.add_log_listener(_remember_warning)

    def mute(self) -> None:
        """Tell asyncpg that nobody wants warnings any more, or it would warn that somebody still does."""
        self.remove_log_listener(_remember_warning)


def _remember_warning(connection: Connection, message: Any) -> None:
    # asyncpg calls this before the statement that was warned about returns: both go through the loop in order.
    if message.severity_en == "WARNING":
        connection.warning = message.message


async def connect(address: Address, host: Host | None, settings: Mapping[str, str]) -> Connection:
    """Open one connection to one host of an address. Raises what asyncpg raises."""
    connection: Connection = await asyncpg.connect(
        address.url,
        host=host.name if host else None,
        port=host.port if host else None,
        timeout=_HOST_SECONDS,
        statement_cache_size=_STATEMENTS_KEPT,
        max_cached_statement_lifetime=0,
        server_settings=dict(settings),
        target_session_attrs=None if address.names_a_target else "read-write",
        connection_class=Connection,
    )
    _keep_alive(connection)
    return connection


def _keep_alive(connection: Connection) -> None:
    own = connection._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg has no public way to its socket
    if own is None or own.family == socket.AF_UNIX:
        return
    for name, level, value in _KEEPALIVE:
        option = getattr(socket, name, None)  # Not every system has all of them.
        if option is not None:
            own.setsockopt(level, option, value)


class Connections:
    """Lends up to `most` connections. Nobody else uses one while it is lent."""

    def __init__(self, address: Address, *, most: int, settings: Mapping[str, str]) -> None:
        self._address = address
        self._settings = settings
        self._free = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._hosts: list[Host | None] = list(address.hosts) or [None]
        self._is_closed = False

    async def borrow(self) -> Connection:
        """Lend a connection, the one that was used last if one is idle. Raises what asyncpg raises."""
        async with asyncio.timeout(_QUEUE_SECONDS):
            await self._free.acquire()
        try:
            self._refuse_when_closed()
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await self._open()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Take a connection back for others to use."""
        if self._is_closed:
            connection.mute()
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append(connection)
        self._free.release()

    def drop(self, connection: Connection) -> None:
        """Take a connection back that is not to be used again, and drop the idle ones: they broke with it."""
        for each in (connection, *self._idle):
            each.mute()
            each.terminate()
        self._idle.clear()
        self._free.release()

    async def warm_up(self, count: int) -> None:
        """Open so many connections before anybody waits for them."""
        opened = [await self.borrow() for _ in range(count)]
        for connection in opened:
            self.give_back(connection)

    async def close(self) -> None:
        """Close what is idle now and what is lent once it comes back."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.mute()
            with suppress(*FOREIGN):
                await connection.close(timeout=1.0)

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the store is closing")

    async def _open(self) -> Connection:
        failure: Exception | None = None
        for host in tuple(self._hosts):
            try:
                connection = await connect(self._address, host, self._settings)
            except FOREIGN as error:
                failure = error
                continue
            self._hosts.sort(key=lambda other: other != host)  # Where it worked is tried first the next time.
            return connection
        raise failure or StoreUnavailable("the database has no host")
