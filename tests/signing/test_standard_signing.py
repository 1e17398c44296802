"""Keys and signatures for what we send, against published vectors and the libraries that receivers use."""

import base64
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from posthorn.errors import Invalid
from posthorn.signing import (
    AsymmetricKey,
    PublicKey,
    SymmetricKey,
    new_asymmetric_secret,
    new_symmetric_secret,
    parse_secret,
    parse_verifying_secret,
    public_form,
    sign,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def whsec(raw: bytes) -> str:
    return "whsec_" + base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ([SECRET], V1),
        ([PRIVATE], V1A),
        ([SECRET, PRIVATE], f"{V1} {V1A}"),
        ([PRIVATE, SECRET], f"{V1A} {V1}"),
    ],
)
def test_signatures_equal_the_published_vectors(secrets: list[str], expected: str) -> None:
    assert sign([parse_secret(secret) for secret in secrets], *MESSAGE) == expected


def test_signing_without_a_key_is_an_error_and_not_an_unsigned_delivery() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        sign([], *MESSAGE)


@settings(deadline=None)
@given(body=st.text().map(lambda text: text.encode("utf-8", "replace")), raw=st.binary(min_size=24, max_size=75))
def test_receivers_with_the_official_libraries_accept_what_we_sign(body: bytes, raw: bytes) -> None:
    now = int(time.time())
    signature = sign([parse_secret(whsec(raw))], "msg_1", now, body)
    standard = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    svix = {"svix-id": "msg_1", "svix-timestamp": str(now), "svix-signature": signature}
    Webhook(whsec(raw)).verify(body, standard, json_parse=False)
    SvixWebhook(whsec(raw)).verify(body, svix)
    SvixWebhook(whsec(raw)).verify(body, {**standard, **svix})


def test_during_rotation_receivers_with_the_old_and_with_the_new_secret_both_accept() -> None:
    now = int(time.time())
    old, new, asymmetric = new_symmetric_secret(), new_symmetric_secret(), new_asymmetric_secret()
    signature = sign([parse_secret(secret) for secret in (new, asymmetric, old)], "msg_1", now, b"{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    Webhook(old).verify(b"{}", headers)
    Webhook(new).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_symmetric_secret()).verify(b"{}", headers)


def test_an_ed25519_signature_verifies_under_the_published_public_key() -> None:
    secret = new_asymmetric_secret()
    version, _, signature = sign([parse_secret(secret)], "msg_1", 5, b"\x00\xff").partition(",")
    raw = base64.b64decode(public_form(secret).removeprefix("whpk_"))
    assert version == "v1a"
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature), b"msg_1.5.\x00\xff")


def test_new_secrets_have_the_declared_form_and_never_repeat() -> None:
    symmetric, asymmetric = new_symmetric_secret(), new_asymmetric_secret()
    assert len(base64.b64decode(symmetric.removeprefix("whsec_"))) == 32
    assert len(base64.b64decode(asymmetric.removeprefix("whsk_"))) == 64
    assert isinstance(parse_secret(symmetric), SymmetricKey)
    assert isinstance(parse_secret(asymmetric), AsymmetricKey)
    assert symmetric != new_symmetric_secret()
    assert asymmetric != new_asymmetric_secret()


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        (PRIVATE, PUBLIC),
        (SECRET, SECRET),
        (f"  {SECRET}\n", SECRET),
        (SECRET.removeprefix("whsec_"), SECRET),
    ],
)
def test_the_public_form_is_what_the_receiver_verifies_with(given_text: str, expected: str) -> None:
    assert public_form(given_text) == expected


@pytest.mark.parametrize("size", [24, 25, 26, 32, 64, 75])
def test_padding_of_a_secret_may_be_missing(size: int) -> None:
    raw = bytes(range(size))
    assert parse_secret(whsec(raw).rstrip("=")) == parse_secret(whsec(raw)) == SymmetricKey(raw=raw)


def test_a_secret_of_random_base64_characters_with_stray_last_bits_is_read_as_libraries_read_it() -> None:
    text = "A" * 33 + "B"  # The last character carries four bits that fall away.
    assert parse_secret(f"whsec_{text}") == SymmetricKey(raw=base64.b64decode(text + "=="))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "24 to 75 bytes"),
        ("whsec_", "24 to 75 bytes"),
        (whsec(bytes(23)), "this one holds 23"),
        (whsec(bytes(76)), "this one holds 76"),
        (f"v1,{SECRET}", 'leave out the "v1,"'),
        (V1A, 'leave out the "v1,"'),
        (PUBLIC, "cannot sign: give the private key"),
        ("whsk_" + base64.b64encode(bytes(32)).decode(), "holds 64 bytes"),
        ("whsk_" + base64.b64encode(bytes(64)).decode(), "do not belong together"),
        ("sk_live_" + "A" * 32, "starts with one of whsec_, whsk_, whpk_"),
        ("WHSEC_" + "A" * 32, "starts with one of"),
        ("whsec_" + "-_" * 16, "base64 with the characters"),
        ("whsec_" + "A" * 16 + " " + "A" * 16, "without spaces"),
        ("whsec_" + "A" * 33, "base64 with the characters"),
        ("whsec_" + "é" * 32, "base64 with the characters"),
        ("whsec_" + "\ud800" * 32, "base64 with the characters"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_secret(text)
    (problem,) = refused.value.problems
    assert problem.loc == ("secret",)
    assert message in problem.msg
    assert len(text) < 10 or text[6:] not in str(refused.value)


def test_a_verifying_secret_is_shared_or_public_and_never_the_private_key() -> None:
    assert isinstance(parse_verifying_secret(SECRET), SymmetricKey)
    assert isinstance(parse_verifying_secret(PUBLIC), PublicKey)
    with pytest.raises(Invalid, match="private key: keep it there"):
        parse_verifying_secret(PRIVATE)
    with pytest.raises(Invalid, match="holds 32 bytes, this one holds 3"):
        parse_verifying_secret("whpk_AAAA")


def outcome(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except Invalid as refused:
        return refused.problems[0].loc


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_key_or_invalid(text: str) -> None:
    for prefix in ("", "whsec_", "whsk_", "whpk_"):
        signing = outcome(parse_secret, prefix + text)
        verifying = outcome(parse_verifying_secret, prefix + text)
        assert isinstance(signing, SymmetricKey | AsymmetricKey) or signing == ("secret",)
        assert isinstance(verifying, SymmetricKey | PublicKey) or verifying == ("secret",)


def test_no_repr_shows_key_material() -> None:
    raw = bytes(range(65, 97))
    for text in (whsec(raw), PRIVATE):
        shown = repr(parse_secret(text))
        assert "private" not in shown
        assert "raw" not in shown
        assert text[8:20] not in shown
        assert raw.decode()[:8] not in shown
