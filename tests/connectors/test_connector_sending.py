import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.connectors import AtSend, Completed, SendPlan, complete, load_catalogue, send_plan
from posthorn.errors import Invalid

NOW_MS = 1_599_360_473_987
REQUEST = Completed(url="https://x.example.com/a?b=1#f", headers=(("A", "1"),), body='{"n": 1.00, "t": "é"}')


def completed(*steps: AtSend, credentials: dict[str, str | None] | None = None, **given_: str) -> Completed:
    plan = send_plan(steps, credentials or {})
    assert plan is not None
    return complete(plan, REQUEST, now_ms=NOW_MS, **given_)


def test_values_go_to_header_query_and_field() -> None:
    made = completed(
        AtSend(name="a", compute="unix_seconds", header="X-Time"),
        AtSend(name="b", compute="unix_ms", query="ts"),
        AtSend(name="c", compute="iso", field="at"),
        AtSend(name="d", compute="text", message="{a}/{b}", header="X-Both"),
    )
    assert made.url == "https://x.example.com/a?b=1&ts=1599360473987#f"
    assert made.headers == (("A", "1"), ("X-Time", "1599360473"), ("X-Both", "1599360473/1599360473987"))
    assert json.loads(made.body or "") == {"n": 1, "t": "é", "at": "2020-09-06T02:47:53.987Z"}


def test_other_fields_keep_their_bytes() -> None:
    made = completed(AtSend(name="a", compute="unix_seconds", field="z"))
    assert made.body == '{"n":1.00,"t":"é","z":"1599360473"}'


def test_a_signature_equals_the_published_example() -> None:
    # RFC 4231 test case 2.
    step = AtSend(
        name="s", compute="hmac_sha256", key="{k}", message="what do ya want for nothing?", encoding="hex", header="S"
    )
    made = completed(step, credentials={"k": "Jefe"})
    assert made.headers[-1] == ("S", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")


def test_every_attempt_signs_anew() -> None:
    dingtalk = load_catalogue()["dingtalk"].actions["send_text"]
    plan = send_plan(dingtalk.at_send, {"token": "t", "secret": "SEC1"})
    assert plan is not None
    urls = {complete(plan, REQUEST, now_ms=NOW_MS + wait).url for wait in (0, 1_000, 2_000)}
    assert len(urls) == 3


def test_without_the_optional_secret_nothing_is_computed() -> None:
    dingtalk = load_catalogue()["dingtalk"].actions["send_text"]
    assert send_plan(dingtalk.at_send, {"token": "t", "secret": None}) is None
    assert send_plan((), {}) is None


def test_a_plan_takes_only_the_credentials_that_it_needs_and_shows_none() -> None:
    step = AtSend(name="s", compute="text", message="{k}", header="S")
    plan = send_plan((step,), {"k": "hush-hush", "other": "quiet"})
    assert plan is not None
    assert plan.credentials == {"k": "hush-hush"}
    assert "hush" not in repr(plan)
    assert "hush" not in repr(complete(plan, REQUEST, now_ms=NOW_MS))


@given(st.text())
def test_a_credential_that_looks_like_a_placeholder_stays_what_it_is(value: str) -> None:
    steps = (
        AtSend(name="a", compute="unix_ms"),
        AtSend(name="s", compute="text", message="{k}", header="S"),
    )
    for credential in (value, "{a}", "{k}", "{{a}}"):
        plan = send_plan(steps, {"k": credential or "x"})
        assert plan is not None
        assert complete(plan, REQUEST, now_ms=NOW_MS).headers[-1] == ("S", credential or "x")


def test_the_journal_sees_masks_in_the_place_of_signatures_and_tokens() -> None:
    steps = (
        AtSend(name="t", compute="unix_ms", query="t"),
        AtSend(name="s", compute="hmac_sha1", key="k", query="s"),
        AtSend(name="a", compute="text", message="Bearer {token}", header="Authorization"),
        AtSend(name="f", compute="hmac_sha512", key="k", field="f"),
    )
    made = completed(*steps, token="hush-hush", mask="•••")
    assert made.url == "https://x.example.com/a?b=1&t=1599360473987&s=•••#f"
    assert made.headers[-1] == ("Authorization", "•••")
    assert json.loads(made.body or "")["f"] == "•••"


def test_a_token_is_demanded() -> None:
    plan = send_plan((AtSend(name="a", compute="text", message="{token}", query="t"),), {})
    assert plan is not None
    assert plan.needs_token
    with pytest.raises(Invalid, match="needs a token"):
        complete(plan, REQUEST, now_ms=NOW_MS)


@pytest.mark.parametrize("body", [None, "", "[]", "x", "1", "[" * 60_000])
def test_a_field_needs_an_object_to_go_into(body: str | None) -> None:
    plan = send_plan((AtSend(name="a", compute="unix_ms", field="t"),), {})
    assert plan is not None
    with pytest.raises(Invalid, match="JSON object"):
        complete(plan, Completed(url="https://x.example.com", headers=(), body=body), now_ms=NOW_MS)


def test_every_plan_of_the_catalogue_survives_being_stored() -> None:
    plans = [
        send_plan(action.at_send, {"secret": "s", "token": "t"})
        for connector in load_catalogue().values()
        for action in connector.actions.values()
        if action.at_send
    ]
    assert len(plans) == 5
    assert [msgspec.json.decode(msgspec.json.encode(plan), type=SendPlan) for plan in plans] == plans
