import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from contract_world import (
    ACTIONS,
    CALLS,
    CATALOGUE,
    TROUBLES,
    Rendered,
    call_of,
    credentials_of,
    inputs_of,
    masked_rendering,
    office_of,
    parts_of,
    render,
    said,
    samples_of,
)

from posthorn.connectors import JudgementKind, Token, secret_parts
from posthorn.testing.vendors import VENDORS

HOSTILE = 'He said "hi", \\ {{ now }} 5 % & a=b + Ünï 中文 \n%0A <b> \u2028 end'
ONE_LINE = 'A "B" \\ & = + % Ünï 中文'


def test_every_connector_has_a_double_and_every_action_a_call() -> None:
    wanted = {(name, action) for name, connector in CATALOGUE.items() for action in connector.actions}
    assert set(ACTIONS) == wanted
    own_tests = {name for name, connector in CATALOGUE.items() if connector.test.request is not None}
    assert {name for name, action in CALLS if action == "test"} == own_tests


@pytest.mark.parametrize(("name", "action"), [call for call in CALLS if call[1] != "token"])
async def test_the_vendor_accepts(name: str, action: str) -> None:
    async with office_of(name) as office:
        judgement = await office.judged(action, office.rendered(action))
        assert office.server.problems == []
        assert judgement.kind is JudgementKind.SUCCESS
        assert len(office.server.received) == 1


# Twilio needs either a sender or a messaging service, see below.
BY_REQUIRED_INPUTS = [call for call in ACTIONS if call != ("twilio", "send_sms")]


@pytest.mark.parametrize(("name", "action"), BY_REQUIRED_INPUTS)
async def test_the_vendor_accepts_required_inputs_alone(name: str, action: str) -> None:
    async with office_of(name) as office:
        samples = samples_of(office.connector.actions[action], whole=False)
        judgement = await office.judged(action, office.rendered(action, samples))
        assert office.server.problems == []
        assert judgement.kind is JudgementKind.SUCCESS


async def test_twilio_takes_a_sender_in_place_of_a_messaging_service() -> None:
    async with office_of("twilio") as office:
        samples = samples_of(office.connector.actions["send_sms"])
        del samples["messaging_service"]
        assert (await office.judged("send_sms", office.rendered("send_sms", samples))).kind is JudgementKind.SUCCESS
        del samples["from"]
        assert (await office.judged("send_sms", office.rendered("send_sms", samples))).kind is JudgementKind.STOP


@pytest.mark.parametrize(("name", "action", "trouble"), TROUBLES)
async def test_the_answer_is_understood(name: str, action: str, trouble: str) -> None:
    expected = call_of(name, action).troubles[trouble]
    async with office_of(name) as office:
        office.server.answer_next(expected.reply)
        judgement = await office.judged(action, office.rendered(action))
        assert office.server.problems == []
        assert (judgement.kind, judgement.retry_after_seconds) == (expected.means, expected.after_seconds)
        assert judgement.reason.startswith(f"HTTP {expected.reply.status}")


@pytest.mark.parametrize(("name", "action"), [call for call in CALLS if call[1] != "token"])
async def test_a_wrong_credential_is_refused(name: str, action: str) -> None:
    vendor = VENDORS[name]
    async with office_of(name) as office:
        if vendor.token is not None:
            rendered = replace_all(office.rendered(action), {vendor.token: "wrong"})
        else:
            secret = next(
                key for key, declared in office.connector.credentials.items() if declared.secret and declared.required
            )
            wrong = "T1/B2/wrong" if name == "slack_webhook" else "wrong0key"
            rendered = office.rendered(action, None, **{secret: wrong})
        judgement = await office.judged(action, rendered)
        assert office.server.problems == ["not authorized"]
        assert judgement.kind is vendor.unauthorized.means or name == "ga4"
        assert judgement.needs_new_token is (vendor.token is not None)


def replace_all(rendered: Rendered, texts: dict[str, str]) -> Rendered:
    request = rendered.request
    url, headers = request.url, request.headers
    for old, new in texts.items():
        url = url.replace(quote(old, safe=""), new)
        headers = tuple((name, value.replace(old, new)) for name, value in headers)
    return replace(rendered, request=msgspec.structs.replace(request, url=url, headers=headers))


SPOKEN = [call for call in ACTIONS if call_of(*call).spoken is not None]


@pytest.mark.parametrize(("name", "action"), SPOKEN)
async def test_hostile_text_arrives_as_it_is(name: str, action: str) -> None:
    call = call_of(name, action)
    async with office_of(name) as office:
        declared = office.connector.actions[action]
        assert call.spoken is not None
        room = declared.inputs[call.spoken].max_characters
        hostile = HOSTILE if room >= 64 else ONE_LINE[:room]
        rendered = office.rendered(action, {**samples_of(declared), call.spoken: hostile})
        judgement = await office.judged(action, rendered)
        assert office.server.problems == []
        assert judgement.kind is JudgementKind.SUCCESS
        assert hostile in said(office.server.received[0].body, is_form=call.form is not None)


MUTATIONS = ["method", "path", "query", "content_type", "unknown field", "missing field"]


def mutated(rendered: Rendered, mutation: str) -> Rendered:
    """Break a request as a wrong template would."""
    request = rendered.request
    if mutation == "method":
        return replace(rendered, method="DELETE")
    if mutation == "path":
        host, path = request.url.split("/", 3)[2:]
        return replace(rendered, request=msgspec.structs.replace(request, url=f"https://{host}/x/{path}"))
    if mutation == "query":
        url = f"{request.url}{'&' if '?' in request.url else '?'}unknown=1"
        return replace(rendered, request=msgspec.structs.replace(request, url=url))
    if mutation == "content_type":
        headers = tuple((n, "text/plain" if n == "Content-Type" else v) for n, v in request.headers)
        return replace(rendered, request=msgspec.structs.replace(request, headers=headers))
    assert request.body is not None
    is_form = any("urlencoded" in value for _, value in request.headers)
    body = broken_form(request.body, mutation) if is_form else broken_json(request.body, mutation)
    return replace(rendered, request=msgspec.structs.replace(request, body=body))


def broken_form(body: str, mutation: str) -> str:
    return f"{body}&unknown=1" if mutation == "unknown field" else body.partition("&")[2]


def broken_json(body: str, mutation: str) -> str:
    document: Any = json.loads(body)
    first = document[0] if isinstance(document, list) else document
    if mutation == "unknown field":
        first["unknown_field"] = 1
    else:
        del first[next(iter(first))]
    return json.dumps(document)


# Customer.io takes fields of any name as attributes, and none of them is required.
MISTAKES = [
    (*call, mutation)
    for call in ACTIONS
    for mutation in MUTATIONS
    if not (call == ("customerio", "identify") and mutation.endswith("field"))
]


@pytest.mark.parametrize(("name", "action", "mutation"), MISTAKES)
async def test_a_wrong_template_does_not_pass(name: str, action: str, mutation: str) -> None:
    async with office_of(name) as office:
        judgement = await office.judged(action, mutated(office.rendered(action), mutation))
        assert office.server.problems != []
        assert judgement.kind is not JudgementKind.SUCCESS or name == "ga4"


IDEMPOTENT = [(name, action) for name, action in ACTIONS if CATALOGUE[name].actions[action].idempotency is not None]


@pytest.mark.parametrize(("name", "action"), IDEMPOTENT)
async def test_the_vendor_finds_the_same_key_in_every_attempt_of_one_delivery(name: str, action: str) -> None:
    idempotency = CATALOGUE[name].actions[action].idempotency
    assert idempotency is not None
    async with office_of(name) as office:
        for _ in range(2):
            await office.judged(action, office.rendered(action))
        keys = []
        for received in office.server.received:
            if idempotency.header is not None:
                keys.append(received.headers[idempotency.header.lower()])
            elif received.media_type.endswith("json"):
                document = json.loads(received.body)
                for part in (idempotency.field or "").split("."):
                    document = document[int(part)] if isinstance(document, list) else document[part]
                keys.append(document)
            else:
                keys.append(received.fields()[idempotency.field or ""])
        assert len(keys) == 2
        assert keys[0] == keys[1] != ""


@pytest.mark.parametrize("name", [name for name, connector in CATALOGUE.items() if connector.token is not None])
async def test_a_token_is_exchanged(name: str) -> None:
    async with office_of(name) as office:
        token = await office.token()
        assert office.server.problems == []
        assert isinstance(token, Token)
        assert token.value == VENDORS[name].token
        assert token.usable_seconds in {7140, 3540}


@pytest.mark.parametrize(("name", "action"), CALLS)
def test_the_journal_shows_masks_in_exactly_the_parts_that_hold_secrets(name: str, action: str) -> None:
    connector = CATALOGUE[name]
    request, declared, _, _ = parts_of(connector, action)
    inputs = inputs_of(declared, samples_of(declared)) if declared is not None else {}
    real = parts(render(request, declared, inputs=inputs, credentials=credentials_of(connector)))
    shown = parts(masked_rendering(connector, action))
    assert {part for part in real if real[part] != shown[part]} == secret_parts(request, connector.secrets())
    for secret in connector.secrets() & VENDORS[name].credentials.keys():
        value = VENDORS[name].credentials[secret]
        assert not any(value in text or quote(value, safe="") in text for text in shown.values())


def parts(rendered: Rendered) -> dict[str, str]:
    request = rendered.request
    headers = {f"headers.{name}": value for name, value in request.headers}
    return {"url": request.url, "body": request.body or "", **headers}
