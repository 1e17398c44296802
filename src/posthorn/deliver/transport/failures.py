"""Every way in which a send can fail: a stable code, its sentence, and the one mapping of foreign errors.

Codes are stored with attempts and shown to customers, so a code is never renamed. Details name no address
that a resolver gave us: an untrusted customer must not map our network with them.
"""

import errno
import ssl
from enum import StrEnum
from types import MappingProxyType

import msgspec


class FailureCode(StrEnum):
    """Why no response came back. The value is the stable code."""

    # The request itself was refused; nothing was sent and nothing was looked up.
    URL_INVALID = "url_invalid"
    URL_HAS_CREDENTIALS = "url_has_credentials"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    PORT_NOT_ALLOWED = "port_not_allowed"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    HEADER_NOT_ALLOWED = "header_not_allowed"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a code, not a credential
    # No connection.
    DNS_FAILED = "dns_failed"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_FAILED = "connection_failed"
    HOST_UNREACHABLE = "host_unreachable"
    NETWORK_UNREACHABLE = "network_unreachable"
    TLS_CERTIFICATE_EXPIRED = "tls_certificate_expired"
    TLS_CERTIFICATE_NOT_YET_VALID = "tls_certificate_not_yet_valid"
    TLS_HOSTNAME_MISMATCH = "tls_hostname_mismatch"
    TLS_SELF_SIGNED = "tls_self_signed"
    TLS_UNTRUSTED_ISSUER = "tls_untrusted_issuer"
    TLS_CERTIFICATE_INVALID = "tls_certificate_invalid"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    # Connected, but no whole response. The receiver may have acted on the request.
    TIMEOUT = "timeout"
    CONNECTION_RESET = "connection_reset"
    CONNECTION_CLOSED = "connection_closed"
    PROTOCOL_ERROR = "protocol_error"
    RESPONSE_HEADERS_TOO_LARGE = "response_headers_too_large"
    # This node's own trouble.
    TOO_MANY_OPEN_FILES = "too_many_open_files"
    OUT_OF_MEMORY = "out_of_memory"
    NO_LOCAL_PORT = "no_local_port"
    SENDING_FORBIDDEN = "sending_forbidden"
    TRANSPORT_CLOSED = "transport_closed"

    @property
    def sentence(self) -> str:
        """What happened, in one sentence that also says the way out where there is one."""
        return SENTENCES[self]

    @property
    def is_ours(self) -> bool:
        """Whether this node is to blame, so that the attempt must not count against the endpoint."""
        return self in _OURS


_OURS = frozenset(
    {
        FailureCode.TOO_MANY_OPEN_FILES,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.NO_LOCAL_PORT,
        FailureCode.SENDING_FORBIDDEN,
        FailureCode.TRANSPORT_CLOSED,
    }
)

SENTENCES: MappingProxyType[FailureCode, str] = MappingProxyType(
    {
        FailureCode.URL_INVALID: "The URL is not a valid absolute http or https URL.",
        FailureCode.URL_HAS_CREDENTIALS: (
            "The URL contains a user name or password; put them into an Authorization header instead."
        ),
        FailureCode.SCHEME_NOT_ALLOWED: "The URL must start with http:// or https://.",
        FailureCode.TOKEN_REFUSED: "The vendor gave no token for the account; check its credentials.",
        FailureCode.PORT_NOT_ALLOWED: "The URL's port belongs to another protocol; use another.",
        FailureCode.ADDRESS_NOT_ALLOWED: (
            "The URL leads to an address that Posthorn does not send to; an operator can allow it with --allow-target."
        ),
        FailureCode.METHOD_NOT_ALLOWED: "Use POST, PUT, PATCH, GET, DELETE, HEAD or OPTIONS.",
        FailureCode.HEADER_NOT_ALLOWED: "A header must not be sent; change or remove it.",
        FailureCode.DNS_FAILED: "The host name could not be looked up; check its spelling and DNS records.",
        FailureCode.CONNECTION_REFUSED: "The host refused the connection; nothing listens on that port.",
        FailureCode.CONNECTION_FAILED: "The connection could not be made.",
        FailureCode.HOST_UNREACHABLE: "The host cannot be reached; it is down or no route leads to it.",
        FailureCode.NETWORK_UNREACHABLE: "The host's network cannot be reached from here.",
        FailureCode.TLS_CERTIFICATE_EXPIRED: "The host's certificate has expired; renew it.",
        FailureCode.TLS_CERTIFICATE_NOT_YET_VALID: (
            "The host's certificate is not valid yet; check its dates and the clocks."
        ),
        FailureCode.TLS_HOSTNAME_MISMATCH: "The host's certificate was issued for another host name.",
        FailureCode.TLS_SELF_SIGNED: (
            "The host's certificate is self-signed; use one of a known authority, "
            "or let an operator add it with --extra-ca-file."
        ),
        FailureCode.TLS_UNTRUSTED_ISSUER: (
            "The host's certificate was issued by an authority that is not trusted, or its intermediate "
            "certificates are not sent; an operator can add an authority with --extra-ca-file."
        ),
        FailureCode.TLS_CERTIFICATE_INVALID: "The host's certificate could not be verified.",
        FailureCode.TLS_HANDSHAKE_FAILED: "No TLS session could be agreed on; the host needs TLS 1.2 or 1.3.",
        FailureCode.TIMEOUT: "No complete response came within the deadline.",
        FailureCode.CONNECTION_RESET: "The host broke the connection off.",
        FailureCode.CONNECTION_CLOSED: "The host closed the connection before its response was complete.",
        FailureCode.PROTOCOL_ERROR: "The host's answer is not valid HTTP/1.1.",
        FailureCode.RESPONSE_HEADERS_TOO_LARGE: "The response's headers are larger than 64 KiB.",
        FailureCode.TOO_MANY_OPEN_FILES: "This node has too many open files; raise its limit (ulimit -n).",
        FailureCode.OUT_OF_MEMORY: "This node has no memory left for another connection.",
        FailureCode.NO_LOCAL_PORT: "This node has no free local port left for another connection.",
        FailureCode.SENDING_FORBIDDEN: "This node's own firewall or system policy forbids the connection.",
        FailureCode.TRANSPORT_CLOSED: "This node is stopping and sends no more.",
    }
)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why something may not be sent: a stable code and a sentence that says the way out."""

    code: FailureCode
    detail: str


def refusal(code: FailureCode, detail: str | None = None) -> Refusal:
    """Build a refusal, with the code's own sentence where there is nothing more exact to say."""
    return Refusal(code=code, detail=code.sentence if detail is None else detail)


CODE_OF_ERRNO: MappingProxyType[int, FailureCode] = MappingProxyType(
    {
        errno.ECONNREFUSED: FailureCode.CONNECTION_REFUSED,
        errno.ECONNRESET: FailureCode.CONNECTION_RESET,
        errno.ECONNABORTED: FailureCode.CONNECTION_RESET,
        errno.EPIPE: FailureCode.CONNECTION_RESET,
        errno.ENOTCONN: FailureCode.CONNECTION_RESET,
        errno.ESHUTDOWN: FailureCode.CONNECTION_RESET,
        errno.ETIMEDOUT: FailureCode.TIMEOUT,
        errno.EHOSTUNREACH: FailureCode.HOST_UNREACHABLE,
        errno.EHOSTDOWN: FailureCode.HOST_UNREACHABLE,
        errno.ENETUNREACH: FailureCode.NETWORK_UNREACHABLE,
        errno.ENETDOWN: FailureCode.NETWORK_UNREACHABLE,
        errno.EAFNOSUPPORT: FailureCode.NETWORK_UNREACHABLE,
        errno.EMFILE: FailureCode.TOO_MANY_OPEN_FILES,
        errno.ENFILE: FailureCode.TOO_MANY_OPEN_FILES,
        errno.ENOBUFS: FailureCode.OUT_OF_MEMORY,
        errno.ENOMEM: FailureCode.OUT_OF_MEMORY,
        errno.EADDRNOTAVAIL: FailureCode.NO_LOCAL_PORT,
        errno.EACCES: FailureCode.SENDING_FORBIDDEN,
        errno.EPERM: FailureCode.SENDING_FORBIDDEN,
    }
)

# OpenSSL's X509_V_ERR_* numbers, x509_vfy.h; Python has no names for them.
CODE_OF_VERIFY_ERROR: MappingProxyType[int, FailureCode] = MappingProxyType(
    {
        2: FailureCode.TLS_UNTRUSTED_ISSUER,  # unable to get issuer certificate
        9: FailureCode.TLS_CERTIFICATE_NOT_YET_VALID,
        10: FailureCode.TLS_CERTIFICATE_EXPIRED,
        18: FailureCode.TLS_SELF_SIGNED,
        19: FailureCode.TLS_UNTRUSTED_ISSUER,  # the chain ends in a root that we do not know
        20: FailureCode.TLS_UNTRUSTED_ISSUER,  # unable to get local issuer certificate
        21: FailureCode.TLS_UNTRUSTED_ISSUER,  # unable to verify the first certificate
        62: FailureCode.TLS_HOSTNAME_MISMATCH,
        64: FailureCode.TLS_HOSTNAME_MISMATCH,  # the same for an IP address
    }
)


def code_of_os_error(error: OSError | None) -> FailureCode:
    """Name a socket error; None is a connection that ended without one."""
    if error is None or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return FailureCode.CONNECTION_CLOSED
    if isinstance(error, ssl.SSLError):
        # Its errno is OpenSSL's own number. After the handshake this is TLS 1.3's late refusal of a client.
        return FailureCode.TLS_HANDSHAKE_FAILED
    if error.errno is not None and error.errno in CODE_OF_ERRNO:
        return CODE_OF_ERRNO[error.errno]
    if isinstance(error, ConnectionRefusedError):
        return FailureCode.CONNECTION_REFUSED
    if isinstance(error, ConnectionError):
        return FailureCode.CONNECTION_RESET
    return FailureCode.CONNECTION_FAILED


def refusal_of_tls_error(error: OSError) -> Refusal:
    """Name what went wrong between the first byte of the handshake and the last.

    A reset or an early end counts as a failed handshake too: servers answer so to a name or version that they
    do not like.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return refusal(CODE_OF_VERIFY_ERROR.get(error.verify_code, FailureCode.TLS_CERTIFICATE_INVALID))
    if not isinstance(error, ssl.SSLError | ConnectionError):
        return refusal(code_of_os_error(error))
    code = FailureCode.TLS_HANDSHAKE_FAILED
    reason = getattr(error, "reason", None)
    return refusal(code, f"{code.sentence} OpenSSL says: {reason.replace('_', ' ').lower()}." if reason else None)
