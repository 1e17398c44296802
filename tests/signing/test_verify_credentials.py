"""The `none`, `basic`, `bearer` and `header_token` schemes."""

import base64

import pytest

from posthorn.signing import (
    BasicVerification,
    BearerVerification,
    HeaderTokenVerification,
    NoVerification,
    Verdict,
    verify,
)


def basic(authorization: bytes, *, username: str = "Aladdin", secrets: tuple[str, ...] = ("open sesame",)) -> Verdict:
    return verify(BasicVerification(username=username), secrets, [(b"Authorization", authorization)], b"", 0)


def encoded(text: str, charset: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(text.encode(charset))


def test_a_source_without_verification_accepts_everything() -> None:
    assert verify(NoVerification(), [], [], b"", 0).accepted


def test_the_vectors_of_rfc_7617_are_accepted() -> None:
    assert basic(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").accepted
    assert basic(b"Basic dGVzdDoxMjPCow==", username="test", secrets=("123£",)).accepted


@pytest.mark.parametrize(
    "authorization",
    [
        b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        b"BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ==  ",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
    ],
)
def test_scheme_case_spaces_and_padding_do_not_matter_to_basic(authorization: bytes) -> None:
    assert basic(authorization).accepted


def test_a_password_may_hold_colons_and_either_part_may_be_beyond_ascii() -> None:
    assert basic(encoded("u:a:b::c"), username="u", secrets=("a:b::c",)).accepted
    assert basic(encoded("Жук:пароль"), username="Жук", secrets=("пароль",)).accepted
    assert not basic(encoded("Жук:пароль", "koi8-r"), username="Жук", secrets=("пароль",)).accepted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Aladdin:wrong", "wrong password"),
        ("Jafar:open sesame", "wrong user name"),
        ("Jafar:wrong", "wrong user name and password"),
        ("Aladdin:", "wrong password"),
        (":open sesame", "wrong user name"),
        ("aladdin:open sesame", "wrong user name"),
        ("Aladdin:open sesame\n", "wrong password"),
        ("Aladdinopen sesame", "base64 of user name, colon and password"),
    ],
)
def test_wrong_credentials_are_a_mismatch(text: str, words: str) -> None:
    verdict = basic(encoded(text))
    assert verdict.cause == "credentials_mismatch"
    assert words in verdict.detail


@pytest.mark.parametrize("text", [b"Basic", b"Basic ", b"Basic !!!", b"Basic \xff\xff", b"Basic Aladdin:open sesame"])
def test_basic_that_does_not_decode_is_a_mismatch(text: bytes) -> None:
    assert basic(text).cause == "credentials_mismatch"


@pytest.mark.parametrize("text", [b"", b"Bearer abc", b"Basically QWxhZGRpbjpvcGVuIHNlc2FtZQ=="])
def test_another_scheme_is_credentials_missing(text: bytes) -> None:
    verdict = basic(text)
    assert verdict.cause == "credentials_missing"
    assert 'does not start with "Basic "' in verdict.detail


@pytest.mark.parametrize("value", [b"Bearer tok-1", b"bearer tok-1", b"BEARER  tok-1 ", b"Bearer tok-2"])
def test_a_bearer_token_of_a_rotation_is_accepted(value: bytes) -> None:
    assert verify(BearerVerification(), ["tok-1", "tok-2"], [(b"AUTHORIZATION", value)], b"", 0).accepted


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"Bearer tok-", "credentials_mismatch"),
        (b"Bearer tok-1x", "credentials_mismatch"),
        (b"Bearer TOK-1", "credentials_mismatch"),
        (b"Bearer", "credentials_mismatch"),
        (b"Bearer tok-1, Bearer tok-1", "credentials_mismatch"),
        (b"tok-1", "credentials_missing"),
        (b"Token tok-1", "credentials_missing"),
    ],
)
def test_another_bearer_value_is_refused(value: bytes, cause: str) -> None:
    assert verify(BearerVerification(), ["tok-1"], [(b"authorization", value)], b"", 0).cause == cause


def test_a_header_token_is_the_whole_value() -> None:
    scheme = HeaderTokenVerification(header="X-Gitlab-Token")

    def judge(*values: bytes) -> Verdict:
        return verify(scheme, ["s3cret"], [(b"x-gitlab-token", value) for value in values], b"", 0)

    assert judge(b"s3cret").accepted
    assert judge(b" s3cret ", b"s3cret").accepted
    assert judge(b"s3cre").cause == "credentials_mismatch"
    assert judge(b"").cause == "credentials_mismatch"
    assert judge().cause == "credentials_missing"
    assert judge(b"s3cret", b"other").cause == "credentials_mismatch"
    prefixed = judge(b"Token s3cret")
    assert prefixed.cause == "credentials_mismatch"
    assert "another word in front" in prefixed.detail


def test_missing_and_differing_authorization_headers_are_refused() -> None:
    good = (b"Authorization", b"Bearer tok-1")
    missing = verify(BearerVerification(), ["tok-1"], [(b"x-gitlab-token", b"tok-1")], b"", 0)
    assert missing.cause == "credentials_missing"
    assert "as GitLab sends it" in missing.detail
    assert verify(BearerVerification(), ["tok-1"], [good, good], b"", 0).accepted
    differing = verify(BearerVerification(), ["tok-1"], [good, (b"authorization", b"Bearer x")], b"", 0)
    assert differing.cause == "credentials_mismatch"


@pytest.mark.parametrize(
    "scheme",
    [BasicVerification(username=""), BearerVerification(), HeaderTokenVerification(header="X")],
)
def test_without_a_secret_empty_credentials_are_not_enough(scheme: BasicVerification) -> None:
    sent = [(b"authorization", b"Bearer "), (b"x", b"")]
    for secrets in ([], [""], ["\t"]):
        assert verify(scheme, secrets, sent, b"", 0).cause == "secret_missing"


def test_details_hold_neither_the_secret_nor_what_came() -> None:
    for value in (b"Bearer attempt-123", b"attempt-123", b"Basic attempt-123"):
        for scheme in (
            BearerVerification(),
            BasicVerification(username="u"),
            HeaderTokenVerification(header="Authorization"),
        ):
            detail = verify(scheme, ["topsecret"], [(b"authorization", value)], b"", 0).detail
            assert "topsecret" not in detail
            assert "attempt" not in detail
