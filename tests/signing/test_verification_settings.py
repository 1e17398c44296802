"""The wire form of a source's verification, and the secrets that it refuses when it is configured."""

import msgspec
import pytest

from posthorn.errors import Invalid
from posthorn.signing import (
    BasicVerification,
    BearerVerification,
    GitHubVerification,
    HeaderTokenVerification,
    HmacVerification,
    NoVerification,
    StandardWebhooksVerification,
    Verification,
    check_secret,
    needs_secret,
    new_asymmetric_secret,
    new_symmetric_secret,
    public_form,
)

WIRE = [
    (b'{"type":"none"}', NoVerification()),
    (b'{"type":"basic","username":"hook"}', BasicVerification(username="hook")),
    (b'{"type":"bearer"}', BearerVerification()),
    (b'{"type":"header_token","header":"X-Token"}', HeaderTokenVerification(header="X-Token")),
    (
        b'{"type":"hmac","header":"X-Sig","algorithm":"sha512","encoding":"base64","prefix":"v1="}',
        HmacVerification(header="X-Sig", algorithm="sha512", encoding="base64", prefix="v1="),
    ),
    (b'{"type":"github"}', GitHubVerification()),
    (
        b'{"type":"standard_webhooks","toleranceSeconds":60}',
        StandardWebhooksVerification(tolerance_seconds=60),
    ),
]


@pytest.mark.parametrize(("wire", "scheme"), WIRE)
def test_the_wire_form_is_camel_case_tagged_by_type(wire: bytes, scheme: Verification) -> None:
    assert msgspec.json.decode(wire, type=Verification) == scheme
    assert msgspec.json.encode(scheme) == wire


@pytest.mark.parametrize(
    "wire",
    [
        b"{}",
        b'{"type":"magic"}',
        b'{"type":"none","header":"X"}',
        b'{"type":"standard_webhooks","tolerance_seconds":60}',
        b'{"type":"standard_webhooks","toleranceSeconds":0}',
        b'{"type":"standard_webhooks","toleranceSeconds":86401}',
        b'{"type":"hmac"}',
        b'{"type":"hmac","header":"X-Sig","algorithm":"md5"}',
        b'{"type":"hmac","header":"X-Sig","encoding":"binary"}',
        b'{"type":"hmac","header":"X-Sig","prefix":" v1="}',
        b'{"type":"hmac","header":"X-Sig","prefix":"v1=\\n"}',
        b'{"type":"hmac","header":""}',
        b'{"type":"hmac","header":"X Sig"}',
        b'{"type":"hmac","header":"X-Sig\\n"}',
        b'{"type":"hmac","header":"X-Sig:"}',
        '{"type":"header_token","header":"X-Schlüssel"}'.encode(),
        b'{"type":"basic"}',
        b'{"type":"basic","username":"a:b"}',
        b'{"type":"basic","username":"a\\u0000"}',
    ],
)
def test_a_setting_that_could_never_match_is_refused_on_the_wire(wire: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(wire, type=Verification)


@pytest.mark.parametrize("header", ["X-Sig", "x", "!#$%&'*+-.^_`|~09AZ"])
def test_every_token_of_rfc_9110_is_a_header_name(header: str) -> None:
    decoded = msgspec.convert({"type": "header_token", "header": header}, type=Verification)
    assert decoded == HeaderTokenVerification(header=header)


def test_only_no_verification_does_without_a_secret() -> None:
    assert [needs_secret(scheme) for _, scheme in WIRE] == [False] + [True] * 6


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        (NoVerification(), ""),
        (BasicVerification(username="u"), "a:b пароль"),
        (BearerVerification(), "abc.DEF-1~+/=="),
        (HeaderTokenVerification(header="X"), "two words"),
        (HmacVerification(header="X"), "anything, even\nlines"),
        (GitHubVerification(), "It's a Secret to Everybody"),
        pytest.param(StandardWebhooksVerification(), new_symmetric_secret(), id="symmetric"),
        pytest.param(StandardWebhooksVerification(), public_form(new_asymmetric_secret()), id="public key"),
    ],
)
def test_a_usable_secret_passes(scheme: Verification, secret: str) -> None:
    check_secret(scheme, secret)


@pytest.mark.parametrize(
    ("scheme", "secret", "message"),
    [
        *[(scheme, "", "") for _, scheme in WIRE[1:]],
        *[(scheme, " ", "") for _, scheme in WIRE[1:]],
        (GitHubVerification(), "secret\n", "starts or ends with white space"),
        (HmacVerification(header="X"), "a\ud800b", "surrogate"),
        (BearerVerification(), "two words", "without spaces"),
        (BearerVerification(), "пароль", "ASCII"),
        (BearerVerification(), "a\x00b", "control character"),
        (HeaderTokenVerification(header="X"), "a\r\nb", "control character"),
        pytest.param(
            StandardWebhooksVerification(), "v1," + new_symmetric_secret(), 'leave out the "v1,"', id="with version"
        ),
        pytest.param(StandardWebhooksVerification(), new_asymmetric_secret(), "public key (whpk_…)", id="private key"),
        (StandardWebhooksVerification(), "plain text secret", "base64"),
    ],
)
def test_a_secret_that_could_never_match_is_refused_when_configured(
    scheme: Verification, secret: str, message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check_secret(scheme, secret)
    assert refused.value.problems[0].loc == ("secret",)
    assert message in refused.value.problems[0].msg
    assert len(secret) < 8 or secret not in str(refused.value)
