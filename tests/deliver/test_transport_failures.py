"""The list of failures is whole, its codes are frozen, and every foreign error that we claim has its name."""

import errno
import os
import ssl

import pytest

from posthorn.deliver.transport import FailureCode
from posthorn.deliver.transport.failures import (
    CODE_OF_ERRNO,
    CODE_OF_VERIFY_ERROR,
    SENTENCES,
    code_of_os_error,
    refusal_of_tls_error,
)

# Stored with attempts and shown to customers: a code may be added here, never renamed or removed.
FROZEN = {
    "token_refused",
    "url_invalid", "url_has_credentials", "scheme_not_allowed", "port_not_allowed", "address_not_allowed",
    "method_not_allowed", "header_not_allowed", "dns_failed", "connection_refused", "connection_failed",
    "host_unreachable", "network_unreachable", "tls_certificate_expired", "tls_certificate_not_yet_valid",
    "tls_hostname_mismatch", "tls_self_signed", "tls_untrusted_issuer", "tls_certificate_invalid",
    "tls_handshake_failed", "timeout", "connection_reset", "connection_closed", "protocol_error",
    "response_headers_too_large", "too_many_open_files", "out_of_memory", "no_local_port", "sending_forbidden",
    "transport_closed",
}  # fmt: skip


def test_no_code_is_renamed_or_removed() -> None:
    assert {code.value for code in FailureCode} == FROZEN


@pytest.mark.parametrize("code", FailureCode)
def test_every_code_has_a_sentence(code: FailureCode) -> None:
    assert code.sentence == SENTENCES[code]
    assert code.sentence[0].isupper()
    assert code.sentence.endswith(".")


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno_of_this_system_has_a_name(number: int) -> None:
    code = code_of_os_error(OSError(number, os.strerror(number)))
    assert code is CODE_OF_ERRNO.get(number, FailureCode.CONNECTION_FAILED)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, FailureCode.CONNECTION_CLOSED),
        (ConnectionResetError(), FailureCode.CONNECTION_RESET),
        (BrokenPipeError(), FailureCode.CONNECTION_RESET),
        (ConnectionAbortedError("uvloop says so"), FailureCode.CONNECTION_RESET),
        (ConnectionRefusedError(), FailureCode.CONNECTION_REFUSED),
        (OSError("Multiple exceptions"), FailureCode.CONNECTION_FAILED),
        (TimeoutError(errno.ETIMEDOUT, "kernel"), FailureCode.TIMEOUT),
        # OpenSSL's error number 1 is not EPERM.
        (ssl.SSLError(1, "alert"), FailureCode.TLS_HANDSHAKE_FAILED),
        (ssl.SSLEOFError(8, "EOF occurred"), FailureCode.CONNECTION_CLOSED),
    ],
)
def test_errors_without_a_number_are_named_by_their_class(error: OSError | None, code: FailureCode) -> None:
    assert code_of_os_error(error) is code


def verification_error(verify_code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = verify_code
    error.verify_message = "whatever"
    return error


@pytest.mark.parametrize("verify_code", range(100))
def test_every_verification_error_has_a_name(verify_code: int) -> None:
    refused = refusal_of_tls_error(verification_error(verify_code))
    assert refused.code is CODE_OF_VERIFY_ERROR.get(verify_code, FailureCode.TLS_CERTIFICATE_INVALID)
    assert refused.detail == refused.code.sentence


@pytest.mark.parametrize(
    "error", [ssl.SSLError(1, "x"), ConnectionResetError(errno.ECONNRESET, "x"), ssl.SSLEOFError(8, "x")]
)
def test_whatever_else_breaks_a_handshake_is_a_failed_handshake(error: OSError) -> None:
    assert refusal_of_tls_error(error).code is FailureCode.TLS_HANDSHAKE_FAILED


def test_a_local_shortage_in_a_handshake_is_still_ours() -> None:
    refused = refusal_of_tls_error(OSError(errno.EMFILE, "x"))
    assert refused.code is FailureCode.TOO_MANY_OPEN_FILES
    assert refused.code.is_ours


def test_what_an_endpoint_does_is_not_ours() -> None:
    ours = {code for code in FailureCode if code.is_ours}
    assert ours == {
        FailureCode.TOO_MANY_OPEN_FILES,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.NO_LOCAL_PORT,
        FailureCode.SENDING_FORBIDDEN,
        FailureCode.TRANSPORT_CLOSED,
    }
