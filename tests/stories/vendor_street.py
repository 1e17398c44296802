"""The vendors of the stories: strict doubles behind TLS under the vendors' own names, and a transport that finds them.

The names lead to this machine and port 443 to the port of the double. All else is as it is in production: the
transport with its address rules, TLS that is verified for the vendor's name, the whole request.
"""

import asyncio
import dataclasses
import json
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

import trustme
from msgspec.structs import replace

from posthorn.clock import Clock
from posthorn.deliver.transport import (
    AddressPolicy,
    HttpTransport,
    NotResolved,
    OutboundRequest,
    OutboundResponse,
    Refusal,
    TransportFailure,
    TransportOptions,
    parse_target,
)
from posthorn.testing.vendors import VENDORS, Received, Reply, Vendor, VendorServer

LOOPBACK = ip_network("127.0.0.0/8")
_HTTPS = 443


def vendor(connector: str, host: str | None = None, **changes: Any) -> Vendor:
    """Return the double of a connector, at another host of that vendor, with these fields changed."""
    known = VENDORS[connector]
    return dataclasses.replace(known, host=host or known.host, **changes)


class Double(VendorServer):
    """A vendor's double behind TLS. While `trouble` is set, it answers that in place of what it would answer."""

    def __init__(self, vendor: Vendor, *, now_ms: int, tls: ssl.SSLContext) -> None:
        super().__init__(vendor, now_ms=now_ms)
        self.host = vendor.host
        self.trouble: Reply | None = None
        self._tls = tls

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def bodies(self) -> list[Any]:
        """The JSON of every request, in the order in which they came."""
        return [json.loads(received.body) for received in self.received]

    def _answer(self, received: Received) -> Reply:
        usual = super()._answer(received)
        return self.trouble if self.trouble is not None else usual


class Street:
    """Opens doubles, each with a certificate for its name."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = folder / "vendors.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self.doubles: dict[str, Double] = {}

    async def open(self, vendor: Vendor, *, now_ms: int) -> Double:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(vendor.host).configure_cert(tls)
        double = Double(vendor, now_ms=now_ms, tls=tls)
        await double.__aenter__()
        self.doubles[vendor.host] = double
        return double

    async def close(self) -> None:
        for double in self.doubles.values():
            await double.__aexit__(None, None, None)

    @property
    def ports(self) -> dict[str, int]:
        return {host: double.port for host, double in self.doubles.items()}

    @property
    def problems(self) -> dict[str, Sequence[str]]:
        """What the vendors would have refused."""
        return {host: double.problems for host, double in self.doubles.items() if double.problems}


class StreetTransport:
    """Sends as the product does, to the doubles of the street and to nobody else."""

    def __init__(self, ports: Mapping[str, int], *, ca_file: Path, clock: Clock) -> None:
        self._ports = ports
        self._inner = HttpTransport(
            policy=AddressPolicy(allow=(LOOPBACK,)),
            resolver=_Names(ports),
            options=TransportOptions(extra_ca_file=ca_file),
            clock=clock,
        )

    async def send(self, request: OutboundRequest) -> OutboundResponse | TransportFailure:
        target = parse_target(request.target) if isinstance(request.target, str) else request.target
        if not isinstance(target, Refusal) and target.port == _HTTPS and target.host in self._ports:
            path = target.raw_target.decode()
            target = parse_target(f"https://{target.host}:{self._ports[target.host]}{path}")
            assert not isinstance(target, Refusal)
            request = replace(request, target=target)
        return await self._inner.send(request)

    async def close(self) -> None:
        await self._inner.close()


class _Names:
    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = known

    async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
        return ("127.0.0.1",) if host in self._known else NotResolved(is_temporary=False)

    async def close(self) -> None:
        pass
