"""TLS against real certificates: what is trusted, and what each refusal is called."""

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from loopback_world import OK, NewClient, Peer, Receiver, Receivers, TableResolver, always, to

from posthorn.deliver.transport import FailureCode, HttpTransport, OutboundRequest, TransportOptions
from posthorn.deliver.transport.tls import client_context
from posthorn.errors import StartRefused

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def self_signed(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "self-signed.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def tls_client(client_with: NewClient, ca_file: Path) -> HttpTransport:
    resolver = TableResolver({"good.test": [("127.0.0.1",)]})
    return client_with(resolver=resolver, options=TransportOptions(extra_ca_file=ca_file))


def post(receiver: Receiver, host: str = "good.test", **given: Any) -> OutboundRequest:
    return to(receiver.url(host=host), **given)


async def test_a_trusted_host_is_reached_with_its_name_in_sni_and_host_header(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    context = serving(AUTHORITY.issue_cert("good.test"))
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    receiver = await receive(always(OK), tls=context)

    first, second = await tls_client.send(post(receiver, body=b"x")), await tls_client.send(post(receiver))

    assert (first.status, first.body, first.peer_address) == (200, b"ok", "127.0.0.1")
    assert first.timings.tls_us > 0
    assert first.timings.connect_us > 0
    assert second.timings.reused
    assert asked == ["good.test"]
    assert b"\r\nHost: good.test:%d\r\n" % receiver.port in receiver.requests[0].head


async def test_a_certificate_for_an_ip_address_is_verified_against_the_address(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    receiver = await receive(always(OK), tls=serving(AUTHORITY.issue_cert("127.0.0.1")))
    assert (await tls_client.send(post(receiver, host="127.0.0.1"))).status == 200


async def test_a_large_body_and_a_large_response_pass_through_tls(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    body = bytes(range(256)) * 4096
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"z" * 60_000
    receiver = await receive(always(answer), tls=serving(AUTHORITY.issue_cert("good.test")))
    response = await tls_client.send(post(receiver, body=body))
    assert response.body == b"z" * 60_000
    assert receiver.requests[0].body == body


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        ({"not_before": NOW - 2 * DAY, "not_after": NOW - DAY}, FailureCode.TLS_CERTIFICATE_EXPIRED),
        ({"not_before": NOW + DAY, "not_after": NOW + 2 * DAY}, FailureCode.TLS_CERTIFICATE_NOT_YET_VALID),
    ],
)
async def test_a_certificate_outside_its_dates_is_refused(
    receive: Receivers, tls_client: HttpTransport, certificate: dict[str, Any], code: FailureCode
) -> None:
    receiver = await receive(always(OK), tls=serving(AUTHORITY.issue_cert("good.test", **certificate)))
    failure = await tls_client.send(post(receiver))
    assert failure.code is code
    assert failure.timings.tls_us > 0
    assert receiver.requests == []


async def test_a_certificate_for_another_name_is_refused(receive: Receivers, tls_client: HttpTransport) -> None:
    receiver = await receive(always(OK), tls=serving(AUTHORITY.issue_cert("other.test")))
    assert (await tls_client.send(post(receiver))).code is FailureCode.TLS_HOSTNAME_MISMATCH


async def test_a_certificate_for_another_address_is_refused(receive: Receivers, tls_client: HttpTransport) -> None:
    receiver = await receive(always(OK), tls=serving(AUTHORITY.issue_cert("good.test")))
    assert (await tls_client.send(post(receiver, host="127.0.0.1"))).code is FailureCode.TLS_HOSTNAME_MISMATCH


async def test_a_self_signed_certificate_is_refused(
    receive: Receivers, tls_client: HttpTransport, tmp_path: Path
) -> None:
    receiver = await receive(always(OK), tls=self_signed(tmp_path))
    assert (await tls_client.send(post(receiver))).code is FailureCode.TLS_SELF_SIGNED


async def test_a_certificate_of_an_unknown_authority_is_refused(receive: Receivers, tls_client: HttpTransport) -> None:
    receiver = await receive(always(OK), tls=serving(STRANGER.issue_cert("good.test")))
    assert (await tls_client.send(post(receiver))).code is FailureCode.TLS_UNTRUSTED_ISSUER


async def test_a_server_that_speaks_plain_http_where_tls_is_expected_fails_the_handshake(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    receiver = await receive(handler)
    receiver.scheme = "https"
    assert (await tls_client.send(post(receiver))).code is FailureCode.TLS_HANDSHAKE_FAILED


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_server_that_hangs_up_in_the_handshake_fails_it(
    receive: Receivers, tls_client: HttpTransport, ending: str
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.reader.read(1)
        if ending == "reset":
            peer.reset()

    receiver = await receive(handler)
    receiver.scheme = "https"
    assert (await tls_client.send(post(receiver))).code is FailureCode.TLS_HANDSHAKE_FAILED


async def test_a_server_that_never_answers_the_handshake_times_out_and_is_let_go(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    let_go = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.gone()
        let_go.set()

    receiver = await receive(handler)
    receiver.scheme = "https"
    failure = await tls_client.send(post(receiver, deadline_seconds=0.2))
    assert failure.code is FailureCode.TIMEOUT
    assert "agreeing on TLS" in failure.detail
    assert failure.timings.tls_us > 100_000
    await let_go.wait()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_asks_for_a_client_certificate_is_a_failed_handshake(
    tls_client: HttpTransport, version: ssl.TLSVersion
) -> None:
    context = serving(AUTHORITY.issue_cert("good.test"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version

    def refuse(listening: socket.socket) -> None:
        # A blocking socket, because asyncio's server drops the alert that it should send.
        accepted, _ = listening.accept()
        with accepted.dup() as kept:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(accepted, server_side=True)
            # Reading to the end keeps a reset from overtaking the alert.
            while kept.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listening))
        url = f"https://good.test:{listening.getsockname()[1]}/"
        # TLS 1.3 refuses after the client's handshake is over, so there it comes where the response should be.
        failure = await tls_client.send(to(url))
        await refusing
    assert failure.code is FailureCode.TLS_HANDSHAKE_FAILED


async def test_without_the_extra_authority_its_hosts_are_not_trusted(
    receive: Receivers, client_with: NewClient
) -> None:
    client = client_with(resolver=TableResolver({"good.test": [("127.0.0.1",)]}))
    receiver = await receive(always(OK), tls=serving(AUTHORITY.issue_cert("good.test")))
    assert (await client.send(post(receiver))).code is FailureCode.TLS_UNTRUSTED_ISSUER


async def test_a_kept_tls_connection_that_the_server_closed_is_replaced(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.request()
        if peer.number > 1:
            await peer.send(OK)

    receiver = await receive(handler, tls=serving(AUTHORITY.issue_cert("good.test")))
    await tls_client.send(post(receiver))
    assert (await tls_client.send(post(receiver))).status == 200
    assert receiver.connections == 2


async def test_cancelling_at_any_turn_of_a_tls_handshake_leaks_nothing(
    receive: Receivers, tls_client: HttpTransport
) -> None:
    receiver = await receive(always(OK), tls=serving(AUTHORITY.issue_cert("good.test")))
    for turns in range(0, 40, 3):
        sending = asyncio.create_task(tls_client.send(post(receiver)))
        for _ in range(turns):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert (await tls_client.send(post(receiver))).body == b"ok"


def test_the_context_verifies_and_speaks_tls_1_2_or_newer() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_unusable_ca_file_refuses_the_start_and_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartRefused, match=r"broken\.pem"):
        client_context(path)
