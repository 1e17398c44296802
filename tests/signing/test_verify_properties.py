"""Properties of every scheme: nothing raises, nothing that was changed is accepted."""

import base64
import hmac

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.signing import (
    BasicVerification,
    BearerVerification,
    Cause,
    GitHubVerification,
    HeaderTokenVerification,
    HmacVerification,
    StandardWebhooksVerification,
    Verification,
    new_asymmetric_secret,
    parse_secret,
    public_form,
    sign,
    verify,
)

SHARED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = new_asymmetric_secret()
SCHEMES: list[Verification] = [
    BasicVerification(username="user"),
    BearerVerification(),
    HeaderTokenVerification(header="X-Token"),
    HmacVerification(header="X-Sig"),
    HmacVerification(header="X-Sig", algorithm="sha1", encoding="base64", prefix="sha1="),
    HmacVerification(header="X-Sig", algorithm="sha512", encoding="base64url"),
    GitHubVerification(),
    StandardWebhooksVerification(),
]
CAUSES = set(msgspec.json.schema(Cause)["enum"])

header_names = st.sampled_from(
    [
        b"Authorization",
        b"X-Token",
        b"x-sig",
        b"X-Hub-Signature-256",
        b"webhook-id",
        b"Webhook-Timestamp",
        b"webhook-signature",
        b"svix-id",
        b"svix-timestamp",
        b"svix-signature",
    ]
)
header_values = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda start, rest: start + rest,
        st.sampled_from([b"Basic ", b"Bearer ", b"v1,", b"v1a,", b"v1, v1a,", b"sha256=", b"sha1=", b"0" * 64]),
        st.one_of(st.binary(max_size=70), st.binary(max_size=70).map(base64.b64encode)),
    ),
    st.integers().map(lambda number: str(number).encode()),
)
secrets_lists = st.lists(
    st.one_of(st.text(), st.just(SHARED), st.just(public_form(PRIVATE)), st.text().map("whsec_".__add__)),
    max_size=3,
)


@settings(deadline=None)
@given(
    scheme=st.sampled_from(SCHEMES),
    secrets=secrets_lists,
    headers=st.lists(st.tuples(st.one_of(header_names, st.binary(max_size=20)), header_values), max_size=8),
    body=st.binary(max_size=200),
    now_ms=st.integers(-(10**18), 10**18),
)
def test_verify_never_raises_and_gives_a_known_cause_or_none(
    scheme: Verification,
    secrets: list[str],
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    now_ms: int,
) -> None:
    verdict = verify(scheme, secrets, headers, body, now_ms)
    assert verdict.detail.endswith(".")
    assert (verdict.cause is None) is verdict.accepted
    assert verdict.accepted or verdict.cause in CAUSES


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=300), bit=st.integers(0, 10**6), data=st.data())
def test_a_flipped_bit_of_body_or_signature_is_never_accepted_by_hmac(
    body: bytes, bit: int, data: st.DataObject
) -> None:
    algorithm, encoding = data.draw(
        st.tuples(
            st.sampled_from(["sha1", "sha256", "sha384", "sha512"]),
            st.sampled_from(["hex", "base64", "base64url"]),
        )
    )
    scheme = HmacVerification(header="X-Sig", algorithm=algorithm, encoding=encoding)
    encode = {
        "hex": lambda raw: raw.hex().encode(),
        "base64": base64.b64encode,
        "base64url": base64.urlsafe_b64encode,
    }
    raw = hmac.digest(b"secret", body, algorithm)

    def judge(signature: bytes, signed_body: bytes) -> bool:
        sent = [(b"X-Sig", encode[encoding](signature))]
        return verify(scheme, ["secret"], sent, signed_body, 0).accepted

    assert judge(raw, body)
    assert not judge(raw, flipped(body, bit))
    assert not judge(flipped(raw, bit), body)
    assert not judge(raw[:-1], body)
    assert not judge(raw + b"\x00", body)


@pytest.mark.parametrize("secret", [SHARED, PRIVATE], ids=["shared", "private"])
@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=300), bit=st.integers(0, 10**6))
def test_a_flipped_bit_anywhere_is_never_accepted_by_standard_webhooks(secret: str, body: bytes, bit: int) -> None:
    at = 1_700_000_000
    version, _, text = sign([parse_secret(secret)], "msg_1", at, body).partition(",")
    parts = {"id": b"msg_1", "timestamp": b"%d" % at, "signature": base64.b64decode(text), "body": body}

    def judge(changed: str | None) -> bool:
        sent = {name: flipped(part, bit) if name == changed else part for name, part in parts.items()}
        headers = [
            (b"webhook-id", sent["id"]),
            (b"webhook-timestamp", sent["timestamp"]),
            (b"webhook-signature", version.encode() + b"," + base64.b64encode(sent["signature"])),
        ]
        scheme = StandardWebhooksVerification(tolerance_seconds=86_400)
        return verify(scheme, [public_form(secret)], headers, sent["body"], at * 1000).accepted

    assert judge(None)
    for part in parts:
        assert not judge(part), part


@settings(deadline=None)
@given(bit=st.integers(0, 10**6))
def test_a_flipped_bit_of_a_credential_is_never_accepted(bit: int) -> None:
    token = b"Jk3v-token.value"
    changed = flipped(token, bit)
    sent = {
        BearerVerification(): (b"authorization", b"Bearer " + changed),
        HeaderTokenVerification(header="X-Token"): (b"x-token", changed),
        BasicVerification(username="u"): (b"authorization", b"Basic " + base64.b64encode(b"u:" + changed)),
    }
    for scheme, header in sent.items():
        assert not verify(scheme, [token.decode()], [header], b"", 0).accepted
