"""The way to a broker: which addresses may be dialled, and how the connection is made safe.

A broker's URL is written by whoever may create sources, so it is judged as a webhook's target is: every address of a
name before each connection, and the connection goes to an address that was judged.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from posthorn.engine.brokers import BrokerAddress, BrokerCredentials, BrokerSettings
from posthorn.engine.marks import MASK
from posthorn.receive.bridges.port import ANSWER_SECONDS, BrokerUnavailable

T = TypeVar("T")


class Refused(Struct, frozen=True):
    """The host may not be connected to, or has no address; `detail` says which and the way out."""

    detail: str


Permits = Callable[[str, int], Awaitable[tuple[str, ...] | Refused]]
"""Resolve a host and judge all of its addresses: returns those that may be connected to, in the order to try."""


class Server(Struct, frozen=True, kw_only=True):
    """One judged address of a broker. `host` is the name that its certificate must have."""

    host: str
    address: str
    port: int


class Link(Struct, frozen=True, kw_only=True):
    """All that a client needs to reach its broker. Never logged: it holds opened credentials."""

    source: str
    node: str
    settings: BrokerSettings
    address: BrokerAddress
    credentials: BrokerCredentials
    permits: Permits

    def __repr__(self) -> str:
        return f"Link({self.source})"

    def shared_name(self, name: str | None) -> str:
        """Return the group that the nodes share: the one that was set, or one of the source's own."""
        return name if name is not None else f"posthorn-{self.source}"

    def masked(self, error: BaseException) -> str:
        """Put a client's error into words, without the credentials that it may quote."""
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        for value in sorted(self.credentials.values(), key=len, reverse=True):
            text = text.replace(value, MASK)
        return text[:500]

    def tls_context(self) -> ssl.SSLContext | None:
        """Build the context of an encrypted connection, None for a plain one. Chain and name are verified."""
        if not self.address.is_tls:
            return None
        context = ssl.create_default_context(cadata=self.settings.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    async def servers(self) -> list[Server]:
        """Resolve and judge all servers. Raises BrokerUnavailable when none may be connected to."""
        found: list[Server] = []
        refusal = "the broker has no servers"
        # Many nodes would otherwise all lean on the server that is named first.
        for host, port in random.sample(self.address.servers, len(self.address.servers)):
            permitted = await self.permits(host, port)
            if isinstance(permitted, Refused):
                refusal = permitted.detail
            else:
                found += [Server(host=host, address=address, port=port) for address in permitted]
        if not found:
            raise BrokerUnavailable(refusal)
        return found

    async def reach(self, connect: Callable[[Server], Awaitable[T]]) -> T:
        """Connect to the first server that answers. Raises BrokerUnavailable with the last failure when none does."""
        failure: BrokerUnavailable | None = None
        for server in await self.servers():
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await connect(server)
            except BrokerUnavailable as error:
                failure = error
            except TimeoutError:
                failure = BrokerUnavailable(f"{server.host}:{server.port} did not answer in {ANSWER_SECONDS:.0f} s")
        raise failure or BrokerUnavailable("the broker has no servers")
