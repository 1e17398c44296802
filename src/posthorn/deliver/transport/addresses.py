"""Which addresses we send to (SSRF policy). Pure: takes URLs and resolved addresses, returns refusals.

The same policy runs twice: when an endpoint is created, so that its owner sees the refusal at once, and for
every new connection with the addresses that the name resolves to at that moment, which is the check that
protects.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from posthorn.deliver.transport.failures import FailureCode, Refusal, refusal
from posthorn.deliver.transport.ranges import (
    BLOCKED_PORTS,
    BLOCKED_V4,
    BLOCKED_V6,
    GLOBAL_V6,
    LOOPBACKS,
    METADATA_ADDRESSES,
    NAT64,
    SIX_TO_FOUR,
    TEREDO,
)
from posthorn.deliver.transport.target import Target, parse_target

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """What an operator lets this node send to.

    `allow` opens networks that are refused by default (`--allow-target`); `allowed_ports`, when set, replaces
    the default port rule (every port but BLOCKED_PORTS). An address that `allow` covers may be reached on any
    port. `own_inbox`, host and port of our own public inbox, is refused: what is sent there comes back as an event.
    """

    allow: tuple[_Network, ...] = ()
    allowed_ports: frozenset[int] | None = None
    own_inbox: tuple[str, int] | None = None

    def check_url(self, url: str) -> Target | Refusal:
        """Judge a URL when it is saved: its form, its port, and a host that is an address or localhost."""
        target = parse_target(url)
        if isinstance(target, Refusal):
            return target
        return self.check_target(target) or target

    def check_target(self, target: Target) -> Refusal | None:
        """Judge a parsed URL by what can be known without looking its name up."""
        if (target.host, target.port) == self.own_inbox:
            return refusal(
                FailureCode.ADDRESS_NOT_ALLOWED,
                "The URL leads to this Posthorn's own inbox, where it would come in again as an event; "
                "let an automation listen to the event instead.",
            )
        if target.is_literal:
            return self.check_addresses((target.host,), port=target.port)
        is_local_name = target.host == "localhost" or target.host.endswith(".localhost")
        if is_local_name and not any(self._is_allowed(address) for address in LOOPBACKS):
            return _blocked("127.0.0.0/8", "this machine")
        # A name may turn out to lie in an allowed network, where every port is open: the send-time check
        # decides.
        return None if self.allow else self._check_port(target.port)

    def check_addresses(self, addresses: Iterable[str], *, port: int) -> Refusal | None:
        """Judge everything that a name resolved to, just before connecting.

        One refused address refuses all: mixed answers are how DNS rebinding begins. So is an empty answer.
        """
        every_one_opened = True
        nothing = True
        for text in addresses:
            nothing = False
            address = _canonical(text)
            if address is None:
                return refusal(FailureCode.ADDRESS_NOT_ALLOWED)
            refused = self._check_address(address)
            if refused is not None:
                return refused
            every_one_opened = every_one_opened and self._is_allowed(address)
        if nothing:
            return refusal(FailureCode.DNS_FAILED)
        return None if every_one_opened else self._check_port(port)

    def _check_address(self, address: _Address) -> Refusal | None:
        if address in METADATA_ADDRESSES and not self._is_allowed_exactly(address):
            return _blocked(f"{address}/{address.max_prefixlen}", "a cloud metadata service")
        embedded = _embedded_v4(address)
        if not self._is_allowed(address):
            blocked = _blocked_range(address)
            if blocked is not None:
                return _blocked(*blocked)
        return None if embedded is None else self._check_address(embedded)

    def _check_port(self, port: int) -> Refusal | None:
        if self.allowed_ports is not None:
            if port in self.allowed_ports:
                return None
            allowed = ", ".join(map(str, sorted(self.allowed_ports)))
            return refusal(
                FailureCode.PORT_NOT_ALLOWED,
                f"Port {port} is not among the ports that are allowed here ({allowed}).",
            )
        if port not in BLOCKED_PORTS:
            return None
        return refusal(
            FailureCode.PORT_NOT_ALLOWED,
            f"Port {port} belongs to another protocol than HTTP; use another port. An operator can open "
            "every port of a network with --allow-target.",
        )

    def _is_allowed(self, address: _Address) -> bool:
        return any(address in network for network in self.allow)

    def _is_allowed_exactly(self, address: _Address) -> bool:
        return any(network.num_addresses == 1 and address in network for network in self.allow)


def parse_allow_target(text: str) -> _Network | None:
    """Read one `--allow-target` value, an address or a CIDR network; None when it is neither."""
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _canonical(text: str) -> _Address | None:
    # getaddrinfo writes a zone id behind link-local addresses; the address before it is what counts.
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _embedded_v4(address: _Address) -> IPv4Address | None:
    """Return the IPv4 address that a translating IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in SIX_TO_FOUR:
        return address.sixtofour
    if address in TEREDO and address.teredo is not None:
        return address.teredo[1]
    return None


def _blocked_range(address: _Address) -> tuple[str, str] | None:
    if isinstance(address, IPv4Address):
        return next(((str(network), what) for network, what in BLOCKED_V4 if address in network), None)
    for network, what in BLOCKED_V6:
        if address in network:
            return str(network), what
    return None if address in GLOBAL_V6 else (f"{address}/128", "unassigned")


def _blocked(network: str, what: str) -> Refusal:
    return refusal(
        FailureCode.ADDRESS_NOT_ALLOWED,
        f"The URL leads to {network} ({what}), where Posthorn does not send. "
        f"An operator can allow it with --allow-target {network}.",
    )
