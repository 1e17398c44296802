"""The Transport port, our own HTTP/1.1 client behind it, and the policy of where it may send."""

from posthorn.deliver.transport.addresses import AddressPolicy, parse_allow_target
from posthorn.deliver.transport.client import HttpTransport, TransportOptions
from posthorn.deliver.transport.exchange import (
    OutboundRequest,
    OutboundResponse,
    PhaseTimings,
    Transport,
    TransportFailure,
)
from posthorn.deliver.transport.failures import FailureCode, Refusal
from posthorn.deliver.transport.headers import NO_HEADERS, OWNED_HEADERS, HeaderBlock, header_block
from posthorn.deliver.transport.resolver import NotResolved, Resolver, ResolverOptions, SystemResolver
from posthorn.deliver.transport.target import Target, parse_target

__all__ = [
    "NO_HEADERS",
    "OWNED_HEADERS",
    "AddressPolicy",
    "FailureCode",
    "HeaderBlock",
    "HttpTransport",
    "NotResolved",
    "OutboundRequest",
    "OutboundResponse",
    "PhaseTimings",
    "Refusal",
    "Resolver",
    "ResolverOptions",
    "SystemResolver",
    "Target",
    "Transport",
    "TransportFailure",
    "TransportOptions",
    "header_block",
    "parse_allow_target",
    "parse_target",
]
