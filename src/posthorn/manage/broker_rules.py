"""Checking a source of kind broker before it is stored, and what of it is sealed."""

import ssl
from dataclasses import replace

import msgspec
from msgspec import UNSET, UnsetType, structs

from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.deliver.transport.failures import Refusal
from posthorn.deliver.transport.resolver import NotResolved, Resolver
from posthorn.deliver.transport.target import Target
from posthorn.engine.brokers import (
    BrokerAddress,
    BrokerCredentials,
    BrokerSettings,
    KafkaBroker,
    NatsBroker,
    RabbitMqBroker,
    RedisBroker,
    address_of,
)
from posthorn.engine.resources import Answer, Source
from posthorn.errors import Invalid
from posthorn.receive.bridges.link import Permits, Refused
from posthorn.receive.bridges.opening import missing_library
from posthorn.signing import NoVerification
from posthorn.vault import KeyRing

_REDIS_PORT = 6379


class BrokerRules:
    """What a broker's settings must keep to, and how its credentials are stored."""

    def __init__(self, keyring: KeyRing, policy: AddressPolicy) -> None:
        self._keyring = keyring
        self._policy = policy

    def settled(
        self,
        identifier: str,
        broker: BrokerSettings,
        given: BrokerCredentials | UnsetType | None,
        existing: Source | None = None,
    ) -> dict[str, object]:
        """Return what a source stores of its broker: the settings without credentials, and those sealed.

        Credentials come in the URL or in `given`; None clears them, and UNSET keeps those of `existing`, unless they
        would be shown to another server than they were given for. Raises Invalid.
        """
        missing = missing_library(broker)
        if missing is not None:
            raise Invalid.at("broker", "type", msg=missing)
        address = address_of(broker)
        _check_path(broker, address)
        _check_authorities(broker, address)
        for host, port in address.servers:
            self._check_server(host, port)
        if address.credentials is not None:
            if given:
                raise Invalid.at("brokerCredentials", msg="the URL has credentials too; leave one of them out")
            given = address.credentials
        sealed = existing.broker_sealed if existing is not None else None
        if given is not UNSET:
            sealed = self._sealed(identifier, given)
        elif sealed is not None and _goes_elsewhere(address, existing):
            raise Invalid.at(
                "brokerCredentials",
                msg="the credentials were given for another server; give them again, or null to go without",
                type="missing",
            )
        _check_credentials(broker, self._opened(identifier, sealed))
        return {"broker": structs.replace(broker, url=address.url), "broker_sealed": sealed}

    def _sealed(self, identifier: str, credentials: BrokerCredentials | None) -> str | None:
        if credentials is None or not credentials.values():
            return None
        return self._keyring.seal(msgspec.json.encode(credentials), context=identifier)

    def _opened(self, identifier: str, sealed: str | None) -> BrokerCredentials | None:
        if sealed is None:
            return None
        return msgspec.json.decode(self._keyring.open(sealed, context=identifier), type=BrokerCredentials)

    def _check_server(self, host: str, port: int) -> None:
        """Judge a server by what can be known without looking its name up; a bridge judges again when it connects."""
        is_literal = ":" in host or host.replace(".", "").isdigit()
        target = Target(
            scheme="https", host=host, port=port, raw_target=b"/", host_header=b"", origin="", is_literal=is_literal
        )
        refused = broker_policy(self._policy, port).check_target(target)
        if isinstance(refused, Refusal):
            raise Invalid.at("broker", "url", msg=refused.detail, type=str(refused.code))


def broker_policy(policy: AddressPolicy, port: int) -> AddressPolicy:
    """Return the policy for a broker at this port: the one for webhooks, but with Redis's own port open.

    That port is closed to webhooks because a Redis may obey lines of a body; a bridge speaks to it on purpose.
    """
    if port == _REDIS_PORT and policy.allowed_ports is None:
        return replace(policy, allowed_ports=frozenset({port}))
    return policy


def broker_gate(policy: AddressPolicy, resolver: Resolver) -> Permits:
    """Make what judges a bridge's connections: the name is looked up, and every address of it is judged."""

    async def permits(host: str, port: int) -> tuple[str, ...] | Refused:
        addresses = await resolver.resolve(host, port)
        if isinstance(addresses, NotResolved):
            return Refused(f"{host} has no address" + (" now" if addresses.is_temporary else ""))
        refused = broker_policy(policy, port).check_addresses(addresses, port=port)
        return addresses if refused is None else Refused(refused.detail)

    return permits


def check_only_broker(source: Source) -> None:
    """Refuse what only makes sense where requests come in by HTTP. Raises Invalid at its place."""
    if source.broker is None:
        return
    if not isinstance(source.verification, NoVerification):
        raise Invalid.at("verification", msg="a broker's messages are not signed: its credentials prove who it is")
    if source.secrets:
        raise Invalid.at("secrets", msg="a broker's source has brokerCredentials in their place")
    if source.answer != Answer():
        raise Invalid.at("answer", msg="a broker is not answered, its messages are acknowledged")


def _goes_elsewhere(address: BrokerAddress, existing: Source | None) -> bool:
    before = existing.broker if existing is not None else None
    return before is None or address_of(before).authority != address.authority


def _check_path(broker: BrokerSettings, address: BrokerAddress) -> None:
    if isinstance(broker, RabbitMqBroker) and address.path is not None and len(address.path.encode()) > 255:
        raise Invalid.at("broker", "url", msg="a virtual host has at most 255 bytes")


def _check_authorities(broker: BrokerSettings, address: BrokerAddress) -> None:
    if broker.ca is None:
        return
    if not address.is_tls:
        raise Invalid.at("broker", "ca", msg="the URL's scheme is one without TLS, where no certificate is checked")
    try:
        ssl.create_default_context(cadata=broker.ca)
    except (ssl.SSLError, ValueError):
        raise Invalid.at("broker", "ca", msg="give PEM text with one or more CA certificates") from None


def _check_credentials(broker: BrokerSettings, credentials: BrokerCredentials | None) -> None:
    given = credentials or BrokerCredentials()
    if given.token is not None and not isinstance(broker, NatsBroker):
        raise Invalid.at("brokerCredentials", "token", msg="only NATS has tokens; give username and password")
    if given.token is not None and (given.username is not None or given.password is not None):
        raise Invalid.at("brokerCredentials", "token", msg="give either a token or username and password")
    match broker:
        case KafkaBroker(sasl_mechanism=None):
            if credentials is not None:
                raise Invalid.at("broker", "saslMechanism", msg="credentials need a mechanism", type="missing")
        case RedisBroker():
            if given.username is not None and given.password is None:
                raise Invalid.at("brokerCredentials", "password", msg="this field is required", type="missing")
        case RabbitMqBroker() | NatsBroker() if credentials is None or given.token is not None:
            return
        case _:
            for name in ("username", "password"):
                if getattr(given, name) is None:
                    raise Invalid.at("brokerCredentials", name, msg="this field is required", type="missing")
