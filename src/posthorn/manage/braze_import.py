"""Braze's webhook object as a send step: what marketers bring along when they come from there."""

from typing import Any

import msgspec
from msgspec import Struct

from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.flows import SendStep
from posthorn.errors import Invalid, Problem
from posthorn.manage.flow_rules import check_send, texts_of_send
from posthorn.manage.template_rules import check_template

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


class BrazeWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The object of Braze's API ("Webhook object"): the field names are Braze's own."""

    url: str
    request_method: str = "POST"
    request_headers: dict[str, str] = {}
    body: str | dict[str, Any] | None = None
    message_variation_id: str | None = None


def send_step_of(webhook: BrazeWebhook, policy: AddressPolicy) -> SendStep:
    """Convert Braze's object, templates in its dialect. Raises Invalid with line and column of what does not compile.

    Braze infers a Content-Type where none is given; so does this: JSON where the body looks like it, a form otherwise.
    """
    body = msgspec.json.encode(webhook.body).decode() if isinstance(webhook.body, dict) else webhook.body
    headers = dict(webhook.request_headers)
    if body and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = _JSON if body.lstrip()[:1] in ("{", "[") else _FORM
    step = SendStep(
        url=webhook.url,
        method=webhook.request_method.upper(),
        headers=headers,
        body=body if webhook.request_method.upper() != "GET" else "",
        dialect="braze",
    )
    check_send(step, policy, "webhook")
    problems: list[Problem] = []
    for at, text, escape, dialect in texts_of_send(step, "webhook"):
        try:
            check_template(text, *at, escape=escape, dialect=dialect)
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(*problems)
    return step
