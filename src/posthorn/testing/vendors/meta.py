"""Doubles of Meta's messengers: Facebook Messenger and WhatsApp Business."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import Call, Reply, Schema, Vendor, bearer, retry, stop, with_parameter


class _Token(Schema, frozen=True, kw_only=True):
    access_token: str


class _Me(_Token, frozen=True, kw_only=True):
    fields: Literal["id,name"]


class _Psid(Schema, frozen=True, kw_only=True):
    id: Annotated[str, Meta(min_length=1)]


class _MessengerText(Schema, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=2000)]


class _MessengerMessage(Schema, frozen=True, kw_only=True):
    recipient: _Psid
    messaging_type: Literal["RESPONSE", "UPDATE"]
    message: _MessengerText


def _graph_error(code: int, text: str, **more: Any) -> dict[str, Any]:
    """Build an error of Meta's Graph API."""
    return {"error": {"message": text, "type": "OAuthException", "code": code, "fbtrace_id": "A1", **more}}


MESSENGER = Vendor(
    connector="messenger",
    host="graph.facebook.com",
    credentials={"token": "EAAG/other+page&token"},
    authorized=with_parameter("access_token", "EAAG/other+page&token"),
    unauthorized=stop(_graph_error(190, "Invalid OAuth access token."), status=400),
    calls=(
        Call(action="test", method="GET", path="/v25.0/me", query=_Me, answer=Reply(body={"id": "10", "name": "Shop"})),
        Call(
            action="send_text",
            path="/v25.0/me/messages",
            query=_Token,
            json=_MessengerMessage,
            spoken="text",
            answer=Reply(body={"recipient_id": "2345678901234567", "message_id": "m_AG5Hz2U"}),
            invalid=Reply(status=400, body=_graph_error(100, "Invalid parameter")),
            troubles={
                "rate limit in a 400": retry(
                    _graph_error(613, "Calls to this API have exceeded the rate limit."), status=400
                ),
                "transient": retry(
                    _graph_error(1200, "Temporary send message failure.", is_transient=True), status=400
                ),
                "outside the window": stop(
                    _graph_error(10, "This message is sent outside of allowed window.", error_subcode=2018278),
                    status=403,
                ),
                "person not available": stop(_graph_error(551, "This person isn't available right now."), status=400),
            },
        ),
    ),
)


class _WhatsAppBody(Schema, frozen=True, kw_only=True):
    body: Annotated[str, Meta(min_length=1, max_length=4096)]
    preview_url: bool = False


class _WhatsAppParameter(Schema, frozen=True, kw_only=True):
    type: Literal["text"]
    text: Annotated[str, Meta(min_length=1, max_length=1024)]


class _WhatsAppComponent(Schema, frozen=True, kw_only=True):
    type: Literal["body"]
    parameters: Annotated[list[_WhatsAppParameter], Meta(min_length=1)]


class _WhatsAppLanguage(Schema, frozen=True, kw_only=True):
    code: str


class _WhatsAppTemplate(Schema, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=512)]
    language: _WhatsAppLanguage
    components: list[_WhatsAppComponent] | msgspec.UnsetType = msgspec.UNSET


class _WhatsAppMessage(Schema, frozen=True, kw_only=True):
    messaging_product: Literal["whatsapp"]
    to: Annotated[str, Meta(pattern=r"\A\+?[0-9]+\Z")]
    recipient_type: Literal["individual"] = "individual"


class _WhatsAppText(_WhatsAppMessage, frozen=True, kw_only=True):
    type: Literal["text"]
    text: _WhatsAppBody


class _WhatsAppByTemplate(_WhatsAppMessage, frozen=True, kw_only=True):
    type: Literal["template"]
    template: _WhatsAppTemplate


class _PhoneFields(Schema, frozen=True, kw_only=True):
    fields: Literal["display_phone_number"]


_WHATSAPP_SENT = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": "15551234567", "wa_id": "15551234567"}],
    "messages": [{"id": "wamid.HBgL"}],
}
_WHATSAPP_TROUBLES = {
    "rate limit in a 400": retry(_graph_error(130429, "(#130429) Rate limit hit"), status=400),
    "pair rate limit": retry(_graph_error(131056, "(#131056) pair rate limit hit"), status=400),
    "24 hours have passed": stop(
        _graph_error(131047, "(#131047) Re-engagement message", error_data={"details": "More than 24 hours"}),
        status=400,
    ),
    "undeliverable": stop(_graph_error(131026, "(#131026) Message undeliverable"), status=400),
}

WHATSAPP = Vendor(
    connector="whatsapp",
    host="graph.facebook.com",
    credentials={"token": "EAAG-other-whatsapp", "phone_number_id": "206540352242922"},
    authorized=bearer("EAAG-other-whatsapp"),
    unauthorized=stop(_graph_error(190, "Invalid OAuth access token - Cannot parse access token"), status=401),
    calls=(
        Call(
            action="test",
            method="GET",
            path="/v25.0/206540352242922",
            query=_PhoneFields,
            answer=Reply(body={"display_phone_number": "+1 555", "id": "206540352242922"}),
        ),
        Call(
            action="send_text",
            path="/v25.0/206540352242922/messages",
            json=_WhatsAppText,
            spoken="text",
            answer=Reply(body=_WHATSAPP_SENT),
            invalid=Reply(status=400, body=_graph_error(100, "(#100) Invalid parameter")),
            troubles=_WHATSAPP_TROUBLES,
        ),
        Call(
            action="send_template",
            path="/v25.0/206540352242922/messages",
            json=_WhatsAppByTemplate,
            answer=Reply(body=_WHATSAPP_SENT),
            invalid=Reply(status=400, body=_graph_error(100, "(#100) Invalid parameter")),
            troubles=_WHATSAPP_TROUBLES,
        ),
    ),
)

META = (MESSENGER, WHATSAPP)
