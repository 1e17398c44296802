"""Doubles of SMS and post: Twilio, MTS Exolve, Lob."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import Call, Received, Reply, Schema, Vendor, basic, bearer, retry, stop

_Filled = Annotated[str, Meta(min_length=1)]


class _TwilioMessage(Schema, frozen=True, kw_only=True):
    To: Annotated[str, Meta(pattern=r"\A\+[0-9]{7,15}\Z")]
    Body: Annotated[str, Meta(min_length=1, max_length=1600)]
    From: _Filled | msgspec.UnsetType = msgspec.UNSET
    MessagingServiceSid: Annotated[str, Meta(pattern=r"\AMG")] | msgspec.UnsetType = msgspec.UNSET


def _twilio_sender(received: Received, _now_ms: int) -> str | None:
    fields = received.fields()
    return None if ("From" in fields) != ("MessagingServiceSid" in fields) else "either From or MessagingServiceSid"


def _twilio_error(code: int, text: str, status: int) -> dict[str, Any]:
    return {"code": code, "message": text, "more_info": f"https://www.twilio.com/docs/errors/{code}", "status": status}


TWILIO = Vendor(
    connector="twilio",
    host="api.twilio.com",
    credentials={"account_sid": "AC00000000000000000000000000000001", "auth_token": "other:token"},
    authorized=basic("AC00000000000000000000000000000001", "other:token"),
    unauthorized=stop(_twilio_error(20003, "Authenticate", 401), status=401),
    calls=(
        Call(
            action="test",
            method="GET",
            path="/2010-04-01/Accounts/AC00000000000000000000000000000001.json",
            answer=Reply(body={"sid": "AC00000000000000000000000000000001", "status": "active"}),
        ),
        Call(
            action="send_sms",
            path="/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json",
            form=_TwilioMessage,
            spoken="text",
            check=_twilio_sender,
            answer=Reply(status=201, body={"sid": "SM1", "status": "queued", "error_code": None}),
            invalid=Reply(status=400, body=_twilio_error(21604, "A 'To' phone number is required.", 400)),
            troubles={
                "too many requests": retry(_twilio_error(20429, "Too Many Requests", 429), status=429),
                "unsubscribed": stop(
                    _twilio_error(21610, "Attempt to send to unsubscribed recipient", 400), status=400
                ),
                "not a number": stop(_twilio_error(21211, "Invalid 'To' Phone Number", 400), status=400),
                "server error": retry(_twilio_error(20500, "Internal Server Error", 500), status=500),
            },
        ),
    ),
)


class _ExolveSms(Schema, frozen=True, kw_only=True):
    number: Annotated[str, Meta(pattern=r"\A(7[0-9]{10}|[A-Za-z][A-Za-z0-9 ._-]{0,10})\Z")]
    destination: Annotated[str, Meta(pattern=r"\A7[0-9]{10}\Z")]
    text: Annotated[str, Meta(min_length=1, max_length=1000)]


EXOLVE = Vendor(
    connector="exolve",
    host="api.exolve.ru",
    credentials={"api_key": "other.exolve.key"},
    authorized=bearer("other.exolve.key"),
    unauthorized=stop({"error": {"code": 16, "message": "unauthenticated"}}, status=401),
    calls=(
        Call(
            action="send_sms",
            path="/messaging/v1/SendSMS",
            json=_ExolveSms,
            spoken="text",
            answer=Reply(body={"message_id": "439166538387464591"}),
            invalid=Reply(status=400, body={"error": {"code": 3, "message": "invalid argument"}}),
            troubles={
                "sender is not ours": stop({"error": {"code": 7, "message": "number is not allowed"}}, status=403),
                "rate limit": retry({"error": {"code": 8, "message": "resource exhausted"}}, status=429),
                "no id in a 200": stop({"error": {"code": 3, "message": "invalid destination"}}),
            },
        ),
    ),
)


class _LobAddress(Schema, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=40)]
    address_line1: Annotated[str, Meta(min_length=1, max_length=64)]
    address_city: Annotated[str, Meta(max_length=200)]
    address_state: Annotated[str, Meta(max_length=200)]
    address_zip: Annotated[str, Meta(max_length=40)]
    address_country: Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z")]
    address_line2: Annotated[str, Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET


class _LobPostcard(Schema, frozen=True, kw_only=True, rename={"sender": "from"}):
    to: _LobAddress
    front: _Filled
    back: _Filled
    use_type: Literal["marketing", "operational"]
    size: Literal["4x6", "6x9", "6x11"] = "4x6"
    sender: Annotated[str, Meta(pattern=r"\Aadr_")] | msgspec.UnsetType = msgspec.UNSET
    merge_variables: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _Limit(Schema, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)]


def _lob_error(status: int, code: str, text: str) -> dict[str, Any]:
    return {"error": {"message": text, "status_code": status, "code": code}}


def _lob_key(received: Received, _now_ms: int) -> str | None:
    key = received.headers.get("idempotency-key", "")
    return None if 1 <= len(key) <= 256 else "there is no Idempotency-Key"


LOB = Vendor(
    connector="lob",
    host="api.lob.com",
    credentials={"api_key": "test_other"},
    authorized=basic("test_other", ""),
    unauthorized=stop(_lob_error(401, "unauthorized", "Your API key is not valid."), status=401),
    calls=(
        Call(
            action="test",
            method="GET",
            path="/v1/addresses",
            query=_Limit,
            answer=Reply(body={"object": "list", "data": []}),
        ),
        Call(
            action="send_postcard",
            path="/v1/postcards",
            json=_LobPostcard,
            spoken="name",
            check=_lob_key,
            answer=Reply(body={"id": "psc_5c002b86ce47537a", "object": "postcard"}),
            invalid=Reply(status=422, body=_lob_error(422, "invalid", "to.name is required")),
            troubles={
                "rate limit": retry(_lob_error(429, "rate_limit_exceeded", "Rate limit exceeded"), status=429),
                "undeliverable": stop(_lob_error(422, "failed_deliverability_strictness", "undeliverable"), status=422),
                "server error": retry(_lob_error(500, "internal_server_error", "An error has occurred"), status=500),
            },
        ),
    ),
)

PHONES_AND_MAIL = (TWILIO, EXOLVE, LOB)
