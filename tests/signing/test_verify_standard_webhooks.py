"""Inbound Standard Webhooks: vectors, official senders, rotation, odd time stamps and odd headers."""

import base64
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from posthorn.signing import (
    StandardWebhooksVerification,
    Verdict,
    new_asymmetric_secret,
    new_symmetric_secret,
    parse_secret,
    public_form,
    sign,
    verify,
)

SCHEME = StandardWebhooksVerification()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
NOW_MS = AT * 1000
BODY = b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
WRONG = "v1," + base64.b64encode(bytes(32)).decode()

Headers = list[tuple[bytes, bytes]]


def headers(signature: str = V1, *, message_id: str = ID, timestamp: str = str(AT), family: str = "webhook") -> Headers:
    return [
        (b"content-type", b"application/json"),
        (f"{family}-id".encode(), message_id.encode()),
        (f"{family}-timestamp".encode(), timestamp.encode()),
        (f"{family}-signature".encode(), signature.encode()),
    ]


def judge(sent: Headers, *, secrets: list[str] | None = None, body: bytes = BODY, now_ms: int = NOW_MS) -> Verdict:
    return verify(SCHEME, [SECRET] if secrets is None else secrets, sent, body, now_ms)


@pytest.mark.parametrize("family", ["webhook", "svix", "Webhook", "SVIX", "wEbHoOk"])
@pytest.mark.parametrize(
    ("secret", "signature"),
    [
        (SECRET, V1),
        (PUBLIC, V1A),
        (SECRET, f"{V1A} {V1}"),
        (PUBLIC, f"{V1} {V1A}"),
        (SECRET.removeprefix("whsec_"), V1),
    ],
)
def test_the_published_vectors_are_accepted(family: str, secret: str, signature: str) -> None:
    verdict = judge(headers(signature, family=family), secrets=[secret])
    assert verdict.accepted, verdict.detail
    assert verdict.cause is None


@settings(deadline=None)
@given(body=st.text(), raw=st.binary(min_size=24, max_size=64), seconds=st.integers(0, 4_000_000_000))
def test_what_the_official_libraries_sign_is_accepted(body: str, raw: bytes, seconds: int) -> None:
    body = body.encode("utf-8", "replace").decode()
    secret = "whsec_" + base64.b64encode(raw).decode()
    at = datetime.fromtimestamp(seconds, tz=UTC)
    for signer, family in ((Webhook(secret), "webhook"), (SvixWebhook(secret), "svix")):
        sent = headers(signer.sign("msg_1", at, body), message_id="msg_1", timestamp=str(seconds), family=family)
        assert judge(sent, secrets=[secret], body=body.encode(), now_ms=seconds * 1000).accepted


def test_both_header_families_of_one_delivery_are_accepted() -> None:
    assert judge(headers() + headers(family="svix")).accepted


def test_a_complete_family_is_not_completed_from_the_other() -> None:
    sent = [*headers()[:2], *headers(family="svix")[2:]]
    assert judge(sent).cause == "signature_missing"
    assert not judge([*sent, (b"webhook-signature", V1.encode())]).accepted


def test_rotation_on_either_side_is_accepted() -> None:
    old, new = new_symmetric_secret(), new_symmetric_secret()
    signed_with_both = sign([parse_secret(new), parse_secret(old)], ID, AT, BODY)
    signed_with_old = sign([parse_secret(old)], ID, AT, BODY)
    assert judge(headers(signed_with_both), secrets=[old]).accepted
    assert judge(headers(signed_with_both), secrets=[new]).accepted
    assert judge(headers(signed_with_old), secrets=[new, old]).accepted
    assert judge(headers(signed_with_old), secrets=[old, new]).accepted
    assert judge(headers(signed_with_old), secrets=[new]).cause == "signature_mismatch"


def test_moving_from_shared_secret_to_key_pair_works_with_both_configured() -> None:
    private = new_asymmetric_secret()
    both = [SECRET, public_form(private)]
    assert judge(headers(sign([parse_secret(private)], ID, AT, BODY)), secrets=both).accepted
    assert judge(headers(V1), secrets=both).accepted
    assert not judge(headers(V1A), secrets=both).accepted


def test_rotation_of_key_pairs_is_accepted() -> None:
    old, new = new_asymmetric_secret(), new_asymmetric_secret()
    publics = [public_form(old), public_form(new)]
    for private in (old, new):
        sent = headers(sign([parse_secret(private)], ID, AT, BODY))
        assert judge(sent, secrets=publics).accepted
        assert judge(sent, secrets=publics, body=b"{}").cause == "signature_mismatch"


def test_unknown_versions_and_broken_entries_do_not_hide_a_good_signature() -> None:
    assert judge(headers(f"v2,abc v1,@@@ v1 {WRONG}  {V1}")).accepted


def test_only_sixteen_signatures_are_tried() -> None:
    assert judge(headers(" ".join([WRONG] * 15 + [V1]))).accepted
    assert judge(headers(" ".join([WRONG] * 16 + [V1]))).cause == "signature_mismatch"
    unknown = ["v2,abc"] * 50
    assert judge(headers(" ".join([*unknown, V1]))).accepted


@pytest.mark.parametrize(
    ("sent", "cause", "words"),
    [
        ([], "signature_missing", "Neither webhook-signature nor svix-signature came"),
        ([(b"Stripe-Signature", b"t=1,v1=ab")], "signature_missing", "as Stripe sends it"),
        ([(b"X-Hub-Signature-256", b"sha256=ab")], "signature_missing", "as GitHub and Meta send it"),
        (headers()[:1] + headers()[2:], "signature_missing", "webhook-id is missing or empty"),
        (headers(message_id=" "), "signature_missing", "webhook-id is missing or empty"),
        (headers()[:2] + headers()[3:], "timestamp_missing", "webhook-timestamp is missing or empty"),
        (headers(""), "signature_missing", "webhook-signature is missing or empty"),
        (headers("v2,abc"), "signature_missing", "holds no v1 signature"),
        (headers(V1A), "signature_missing", "v1a a whpk_ public key"),
        (headers("garbage"), "signature_malformed", "must be a list, separated by spaces"),
        (headers("v1,"), "signature_malformed", "must be a list"),
        (headers("v1,@@@@"), "signature_malformed", "must be a list"),
        (
            headers("v1," + V1.removeprefix("v1,").replace("+", "-").replace("/", "_")),
            "signature_malformed",
            "list",
        ),
        (headers(V1[:-8]), "signature_malformed", "must be a list"),
        (headers(f"{V1},{V1}"), "signature_malformed", "must be a list"),
        (headers(WRONG), "signature_mismatch", "signs with another secret"),
        (headers(message_id="msg_2"), "signature_mismatch", "or the id"),
        (headers(timestamp=str(AT + 1)), "signature_mismatch", "no signature in it covers"),
        (
            [*headers(), (b"webhook-id", b"msg_2")],
            "signature_malformed",
            "several times with different values",
        ),
        ([*headers(), (b"webhook-timestamp", b"5")], "timestamp_malformed", "several times"),
        ([*headers(), (b"Webhook-Signature", WRONG.encode())], "signature_malformed", "several times"),
    ],
)
def test_a_refusal_names_its_cause_and_the_likely_mistake(sent: Headers, cause: str, words: str) -> None:
    verdict = judge(sent)
    assert not verdict.accepted
    assert verdict.cause == cause
    assert words in verdict.detail


def test_headers_doubled_by_a_proxy_with_the_same_value_are_accepted() -> None:
    assert judge([(name, b" " + value + b"\t") for name, value in headers() * 3]).accepted


@pytest.mark.parametrize(
    "text",
    [
        "1e9",
        "1.6e9",
        "-1",
        "+1614265330",
        "01614265330",
        "1614265330.0",
        "1614265330,1614265330",
        "1_614_265_330",
        "0x6037bf32",
        "NaN",
        "nan",
        "inf",
        "Infinity",
        "1614265330000",
        "9" * 400,
        "2021-02-25T15:02:10Z",
        "١٦١٤٢٦٥٣٣٠",
        "1614265330\x00",
        "now",
    ],
)
def test_a_timestamp_that_is_not_plain_seconds_is_malformed_even_when_signed(text: str) -> None:
    content = f"{ID}.{text}.".encode() + BODY
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    assert judge(headers(signature, timestamp=text)).cause == "timestamp_malformed"


def test_milliseconds_are_named_as_the_likely_mistake() -> None:
    assert "milliseconds" in judge(headers(timestamp="1614265330000")).detail


@pytest.mark.parametrize(
    ("late_ms", "is_accepted"),
    [(0, True), (300_000, True), (300_001, False), (-300_000, True), (-300_001, False), (10**15, False)],
)
def test_tolerance_holds_in_both_directions_and_includes_its_edge(late_ms: int, is_accepted: bool) -> None:
    verdict = judge(headers(), now_ms=NOW_MS + late_ms)
    assert verdict.accepted is is_accepted
    assert verdict.cause == (None if is_accepted else "timestamp_out_of_tolerance")


def test_the_tolerance_is_the_source_s_own() -> None:
    narrow = StandardWebhooksVerification(tolerance_seconds=10)
    assert verify(narrow, [SECRET], headers(), BODY, NOW_MS + 10_000).accepted
    late = verify(narrow, [SECRET], headers(), BODY, NOW_MS + 11_000)
    assert late.cause == "timestamp_out_of_tolerance"
    assert "11 s behind our clock and 10 s are allowed" in late.detail


def test_an_old_request_with_a_wrong_signature_is_a_mismatch_and_not_late() -> None:
    assert judge(headers(WRONG), now_ms=NOW_MS + 10**9).cause == "signature_mismatch"


def test_a_boundary_moved_between_id_time_and_body_is_refused() -> None:
    # The sender signs a body in which its user wrote a time stamp and another body.
    body = b'{"name":"x.1614265330.{}"}'
    signature = sign([parse_secret(SECRET)], "msg_1", AT, body)
    assert judge(headers(signature, message_id="msg_1"), body=body).accepted
    moved = headers(signature, message_id=f'msg_1.{AT}.{{"name":"x')
    verdict = judge(moved, body=b'{}"}')
    assert verdict.cause == "signature_malformed"
    assert 'webhook-id holds a "."' in verdict.detail


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        (SECRET.encode(), None, "the whole secret as text"),
        (SECRET.removeprefix("whsec_").encode(), None, 'what follows "whsec_" as text'),
        (None, BODY, "signs the body alone"),
        (None, f"{ID}.{AT}.".encode() + b'{"test":2432232314}', "parses the JSON body and writes it anew"),
        (None, f"{ID}.{AT}.".encode() + BODY + b"\n", "removes a line feed"),
    ],
)
def test_common_mistakes_of_senders_are_recognised_and_still_refused(
    key: bytes | None, content: bytes | None, words: str
) -> None:
    digest = hmac.digest(
        key or base64.b64decode(SECRET.removeprefix("whsec_")),
        content or f"{ID}.{AT}.".encode() + BODY,
        "sha256",
    )
    verdict = judge(headers("v1," + base64.b64encode(digest).decode()))
    assert verdict.cause == "signature_mismatch"
    assert words in verdict.detail


@pytest.mark.parametrize("secrets", [[], [""], ["  "], ["not a secret"], ["whsk_AAAA", "whsec_"]])
def test_without_a_usable_secret_everything_is_refused(secrets: list[str]) -> None:
    assert judge(headers(), secrets=secrets).cause == "secret_missing"


def test_an_unusable_secret_does_not_stop_the_others() -> None:
    assert judge(headers(), secrets=["", "broken", SECRET]).accepted
