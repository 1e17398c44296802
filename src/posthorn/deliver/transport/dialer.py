"""New connections: look the name up once, check every address, connect to a checked one, agree on TLS.

The socket goes to an address that was checked, never to a name, so that no second look-up can lead elsewhere
(DNS rebinding); the original host stays in the Host header, in SNI and in the certificate check.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.deliver.transport.connection import Connection
from posthorn.deliver.transport.exchange import PhaseTimings
from posthorn.deliver.transport.failures import (
    FailureCode,
    Refusal,
    code_of_os_error,
    refusal,
    refusal_of_tls_error,
)
from posthorn.deliver.transport.resolver import NotResolved, Resolver
from posthorn.deliver.transport.target import Target

_MAX_ADDRESSES_TRIED = 4
_MAX_SECONDS_PER_ADDRESS = 5.0
_TLS_SHUTDOWN_SECONDS = 1.0


class Stopwatch:
    """Measures the phases of one send; `doing` names the phase that runs."""

    __slots__ = ("_monotonic", "_spent", "doing", "phase_at", "started_at")

    def __init__(self, monotonic: Callable[[], float], started_at: float) -> None:
        self._monotonic = monotonic
        self._spent: dict[str, float] = {}
        self.phase_at = started_at
        self.started_at = started_at
        self.doing = ""

    def enter(self, doing: str) -> None:
        """End the phase that runs and begin another."""
        now = self._monotonic()
        self._spent[self.doing] = self._spent.get(self.doing, 0.0) + now - self.phase_at
        self.phase_at = now
        self.doing = doing

    def timings(self, now: float, wait_seconds: float = 0.0) -> PhaseTimings:
        """Write down what has passed until `now`."""
        spent = dict(self._spent)
        spent[self.doing] = spent.get(self.doing, 0.0) + now - self.phase_at
        return PhaseTimings(
            dns_us=_microseconds(spent.get(LOOKING_UP, 0.0)),
            connect_us=_microseconds(spent.get(CONNECTING, 0.0)),
            tls_us=_microseconds(spent.get(AGREEING, 0.0)),
            wait_us=_microseconds(wait_seconds),
            total_us=_microseconds(now - self.started_at),
        )


LOOKING_UP = "looking up the host name"
CONNECTING = "connecting"
AGREEING = "agreeing on TLS"
EXCHANGING = "exchanging"


@dataclass(frozen=True, slots=True)
class _Connected:
    socket: socket.socket
    address: str


class Dialer:
    """Opens connections under one address policy."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        resolver: Resolver,
        tls: ssl.SSLContext,
        new_connection: Callable[[str, str], Connection],
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._tls = tls
        self._new_connection = new_connection

    async def open(self, target: Target, deadline_at: float, watch: Stopwatch) -> Connection | Refusal:
        """Open a connection to the target; `deadline_at` is in the loop's time."""
        refused = self._policy.check_target(target)
        if refused is not None:
            return refused
        addresses = await self._addresses(target, watch)
        if isinstance(addresses, Refusal):
            return addresses
        refused = self._policy.check_addresses(addresses, port=target.port)
        if refused is not None:
            return refused
        watch.enter(CONNECTING)
        connected = await self._connect_any(addresses[:_MAX_ADDRESSES_TRIED], target.port, deadline_at)
        if isinstance(connected, Refusal):
            return connected
        return await self._attach(connected, target, watch)

    async def _addresses(self, target: Target, watch: Stopwatch) -> tuple[str, ...] | Refusal:
        if target.is_literal:
            return (target.host,)
        watch.enter(LOOKING_UP)
        addresses = await self._resolver.resolve(target.host, target.port)
        if isinstance(addresses, NotResolved):
            code = FailureCode.DNS_FAILED
            return refusal(code, f"{code.sentence} The failure may be temporary." if addresses.is_temporary else None)
        return addresses

    async def _connect_any(self, addresses: Sequence[str], port: int, deadline_at: float) -> _Connected | Refusal:
        """Try the addresses one after the other; the last one may use what time is left."""
        loop = asyncio.get_running_loop()
        for position, address in enumerate(addresses):
            others = len(addresses) - position - 1
            share = min((deadline_at - loop.time()) / (others + 1), _MAX_SECONDS_PER_ADDRESS)
            try:
                async with asyncio.timeout(share if others else None) as limit:
                    return _Connected(await _connect(address, port), address)
            except OSError as error:
                # TimeoutError is an OSError; ours, not the kernel's, has no errno.
                code = FailureCode.TIMEOUT if limit.expired() else code_of_os_error(error)
                if others == 0 or code.is_ours:
                    return refusal(code)
        return refusal(FailureCode.DNS_FAILED)

    async def _attach(self, connected: _Connected, target: Target, watch: Stopwatch) -> Connection | Refusal:
        """Give the socket to the loop, which owns it from here on, also when it fails."""
        loop = asyncio.get_running_loop()

        def new_connection() -> Connection:
            return self._new_connection(target.origin, connected.address)

        if not target.is_tls:
            try:
                _, connection = await loop.create_connection(new_connection, sock=connected.socket)
            except OSError as error:
                return refusal(code_of_os_error(error))
            return connection
        watch.enter(AGREEING)
        try:
            _, connection = await loop.create_connection(
                new_connection,
                sock=connected.socket,
                ssl=self._tls,
                server_hostname=target.host,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
            )
        except OSError as error:
            return refusal_of_tls_error(error)
        return connection


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connecting, (address, port))
    except BaseException:
        connecting.close()
        raise
    return connecting


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
