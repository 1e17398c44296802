"""The `hmac` and `github` schemes: published vectors, encodings, malformed headers, diagnosis."""

import base64
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.signing import GitHubVerification, HmacVerification, Verdict, verify

GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_SIGNATURE = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

# RFC 2202 section 3 and RFC 4231 section 4.3, test case 2.
JEFE_BODY = b"what do ya want for nothing?"
JEFE = {
    "sha1": "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    "sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    "sha384": ("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"),
    "sha512": (
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    ),
}
HEX256 = JEFE["sha256"].encode()
PLAIN = HmacVerification(header="X-Sig")


def judge(
    scheme: HmacVerification, *values: bytes, secrets: tuple[str, ...] = ("Jefe",), body: bytes = JEFE_BODY
) -> Verdict:
    return verify(scheme, secrets, [(b"x-sIG", value) for value in values], body, 0)


def github(*values: bytes, name: bytes = b"X-Hub-Signature-256", body: bytes = GITHUB_BODY) -> Verdict:
    return verify(GitHubVerification(), [GITHUB_SECRET], [(name, value) for value in values], body, 0)


def test_the_vector_of_github_s_documentation_is_accepted() -> None:
    assert github(GITHUB_SIGNATURE).accepted
    assert github(GITHUB_SIGNATURE, name=b"x-hub-signature-256").accepted
    assert github(GITHUB_SIGNATURE, body=b"Hello, World?").cause == "signature_mismatch"


def test_github_s_older_sha1_header_is_never_accepted() -> None:
    old = b"sha1=" + hmac.digest(GITHUB_SECRET.encode(), GITHUB_BODY, "sha1").hex().encode()
    verdict = github(old, name=b"X-Hub-Signature")
    assert verdict.cause == "signature_missing"
    assert "X-Hub-Signature came" in verdict.detail
    assert "SHA-1" in verdict.detail
    assert github(old).cause == "signature_malformed"


def test_a_sha1_value_behind_the_right_prefix_is_recognised_by_its_length() -> None:
    verdict = github(b"sha256=" + b"0" * 40)
    assert verdict.cause == "signature_malformed"
    assert "40 hex characters, as SHA-1 has" in verdict.detail
    assert "32 bytes of an HMAC-SHA256 in hex" in verdict.detail


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("prefix", ["", "v0=", "HMAC "])
def test_the_rfc_vectors_are_accepted_in_every_encoding(algorithm: str, prefix: str) -> None:
    raw = bytes.fromhex(JEFE[algorithm])
    texts = {
        "hex": raw.hex().encode(),
        "base64": base64.b64encode(raw),
        "base64url": base64.urlsafe_b64encode(raw),
    }
    for encoding, text in texts.items():
        scheme = HmacVerification(header="X-Sig", algorithm=algorithm, encoding=encoding, prefix=prefix)
        assert judge(scheme, prefix.encode() + text).accepted
        assert judge(scheme, prefix.encode() + text.rstrip(b"=")).accepted


def test_upper_case_hex_and_stray_white_space_are_accepted() -> None:
    assert judge(PLAIN, b" \t" + HEX256.upper() + b"  ").accepted


def test_equal_copies_count_once_and_differing_copies_prove_nothing() -> None:
    assert judge(PLAIN, HEX256, HEX256 + b" ").accepted
    verdict = judge(PLAIN, HEX256, b"0" * 64)
    assert verdict.cause == "signature_malformed"
    assert "several times with different values" in verdict.detail


def test_any_secret_of_a_rotation_is_accepted() -> None:
    assert judge(PLAIN, HEX256, secrets=("new", "Jefe")).accepted
    assert judge(PLAIN, HEX256, secrets=("Jefe", "new")).accepted
    verdict = judge(PLAIN, HEX256, secrets=("new", "newer"))
    assert verdict.cause == "signature_mismatch"
    assert "any of the 2 secrets" in verdict.detail


@pytest.mark.parametrize("secrets", [(), ("",), (" \n",)])
def test_without_a_secret_everything_is_refused_even_an_hmac_under_the_empty_key(
    secrets: tuple[str, ...],
) -> None:
    forged = hmac.digest(b"", JEFE_BODY, "sha256").hex().encode()
    assert judge(PLAIN, forged, secrets=secrets).cause == "secret_missing"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "has nothing"),
        (b"0" * 63, "63 hex characters"),
        (b"0" * 128, "128 hex characters, as SHA-512 has"),
        (HEX256 + b"," + HEX256, "several parts joined by commas"),
        (HEX256[:32] + b" " + HEX256[32:], "several parts joined by commas or spaces"),
        (b"t=1,v1=" + HEX256, "several parts"),
        (b"sha256=" + HEX256, 'something in front of a "=" sign'),
        (base64.b64encode(bytes.fromhex(JEFE["sha256"])), "44 base64 characters, as SHA-256 has"),
        (b"\xff\xfe", "neither hex nor base64"),
        (b"0x" + HEX256, "66 base64 characters"),
    ],
)
def test_a_value_of_another_form_is_malformed_and_its_form_is_named(value: bytes, words: str) -> None:
    verdict = judge(PLAIN, value)
    assert verdict.cause == "signature_malformed"
    assert words in verdict.detail


def test_a_missing_prefix_is_named() -> None:
    verdict = judge(HmacVerification(header="X-Sig", prefix="sha256="), HEX256)
    assert verdict.cause == "signature_malformed"
    assert 'does not start with "sha256="' in verdict.detail


@pytest.mark.parametrize(
    ("encoding", "change"),
    [
        ("base64", lambda text: text.replace(b"+", b"-").replace(b"/", b"_")),
        ("base64url", lambda text: text.replace(b"-", b"+").replace(b"_", b"/")),
        # The same bytes with other unused bits in the last character.
        ("base64", lambda text: text[:-2] + bytes([text[-2] + 1]) + b"="),
        ("base64", lambda text: text + b"===="),
        ("base64", lambda text: text[:10] + b"\n" + text[10:]),
    ],
)
def test_base64_is_strict(encoding: str, change: Callable[[bytes], bytes]) -> None:
    scheme = HmacVerification(header="X-Sig", encoding=encoding)
    key, body = "k", b"16"  # The digest has both of the characters in which the alphabets differ.
    raw = hmac.digest(key.encode(), body, "sha256")
    text = base64.b64encode(raw) if encoding == "base64" else base64.urlsafe_b64encode(raw)
    assert len(set(b"+/-_") & set(text)) == 2
    assert judge(scheme, text, secrets=(key,), body=body).accepted
    assert judge(scheme, change(text), secrets=(key,), body=body).cause == "signature_malformed"


@pytest.mark.parametrize(
    ("secret", "key", "signed", "body", "words"),
    [
        ("Jefe", b"Jefe\n", b"{}", b"{}", "secret ends in a line feed"),
        ("c2VjcmV0", b"secret", b"{}", b"{}", "base64-decoded secret"),
        ("whsec_c2VjcmV0", b"secret", b"{}", b"{}", "base64-decoded secret"),
        ("whsec_secret", b"secret", b"{}", b"{}", 'without "whsec_"'),
        ("736563726574", b"secret", b"{}", b"{}", "hex-decoded secret"),
        ("Jefe", b"Jefe", b"", b"{}", "signs an empty body"),
        ("Jefe", b"Jefe", b"{}", b"{}\n", "adds a line feed"),
        ("Jefe", b"Jefe", b"{}\n", b"{}", "removes a line feed"),
        ("Jefe", b"Jefe", b'{"a":1,"b":2}', b'{"a": 1, "b": 2}', "parses the JSON body"),
        ("Jefe", b"Jefe", b'{"a": 1, "b": 2}', b'{"a":1,"b":2}', "parses the JSON body"),
        ("Jefe", b"other", b"{}", b"{}", "signs with another secret"),
        (
            "Jefe",
            b"Jefe",
            b'{"a":1}' + b" " * 20_000,
            b'{"a": 1}' + b" " * 20_000,
            "signs with another secret",
        ),
    ],
)
def test_common_mistakes_are_recognised_and_still_refused(
    secret: str, key: bytes, signed: bytes, body: bytes, words: str
) -> None:
    given_value = hmac.digest(key, signed, "sha256").hex().encode()
    verdict = judge(PLAIN, given_value, secrets=(secret,), body=body)
    assert verdict.cause == "signature_mismatch"
    assert words in verdict.detail


@settings(deadline=None)
@given(secret=st.text(min_size=8), body=st.binary())
def test_a_detail_never_holds_the_secret_or_the_expected_signature(secret: str, body: bytes) -> None:
    if not secret.strip():
        return
    expected = hmac.digest(secret.encode("utf-8", "surrogatepass"), body, "sha256")
    for value in (b"0" * 64, b"", b"sha256=" + b"0" * 64, expected.hex().encode()[:-1]):
        verdict = judge(PLAIN, value, secrets=("marker-" + secret,), body=body)
        assert not verdict.accepted
        assert "marker-" not in verdict.detail
        assert expected.hex()[:8] not in verdict.detail


def test_a_deeply_nested_body_is_refused_without_an_error() -> None:
    assert judge(PLAIN, b"0" * 64, body=b"[" * 16_000).cause == "signature_mismatch"
    assert judge(PLAIN, b"0" * 64, body=b"9" * 16_000).cause == "signature_mismatch"
