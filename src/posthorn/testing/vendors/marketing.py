"""Doubles of marketing and analytics: Mailchimp, Braze, Customer.io, GA4, Segment, Amplitude."""

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import (
    Call,
    Received,
    Reply,
    Schema,
    Vendor,
    accepted,
    basic,
    bearer,
    retry,
    stop,
    with_parameter,
)

_Filled = Annotated[str, Meta(min_length=1)]
_Instant = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z")]


class _MailchimpStatus(Schema, frozen=True, kw_only=True):
    status: Literal["subscribed", "unsubscribed", "cleaned", "pending", "transactional"]


class _MailchimpMember(Schema, frozen=True, kw_only=True):
    email_address: Annotated[str, Meta(pattern="@")]
    status_if_new: Literal["subscribed", "unsubscribed", "cleaned", "pending", "transactional"]
    merge_fields: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def _mailchimp_error(status: int, title: str, text: str) -> dict[str, Any]:
    return {
        "type": "https://mailchimp.com/developer/",
        "title": title,
        "status": status,
        "detail": text,
        "instance": "1",
    }


_MEMBER = f"/3.0/lists/a1b2c3d4e5/members/{hashlib.md5(b'anna@example.com').hexdigest()}"  # noqa: S324 - Mailchimp's id
_MAILCHIMP_INVALID = Reply(status=400, body=_mailchimp_error(400, "Invalid Resource", "Schema describes object"))
_MAILCHIMP_TROUBLES = {
    "too many connections": retry(_mailchimp_error(429, "Too Many Requests", "10 simultaneous"), status=429),
    "compliance": stop(_mailchimp_error(400, "Member In Compliance State", "was permanently deleted"), status=400),
    "not found": stop(_mailchimp_error(404, "Resource Not Found", "could not be found"), status=404),
    "server error": retry(_mailchimp_error(500, "Internal Server Error", "error"), status=500),
}

MAILCHIMP = Vendor(
    connector="mailchimp",
    host="eu1.api.mailchimp.com",
    credentials={"data_center": "eu1", "api_key": "fedcba-eu1"},
    authorized=basic("posthorn", "fedcba-eu1"),
    unauthorized=stop(_mailchimp_error(401, "API Key Invalid", "Your API key may be invalid"), status=401),
    calls=(
        Call(
            action="test", method="GET", path="/3.0/ping", answer=Reply(body={"health_status": "Everything's Chimpy!"})
        ),
        Call(
            action="unsubscribe",
            method="PATCH",
            path=_MEMBER,
            json=_MailchimpStatus,
            answer=Reply(body={"id": "852aaa9532cb36adfb5e9fef7a4206a9", "status": "unsubscribed"}),
            invalid=_MAILCHIMP_INVALID,
            troubles=_MAILCHIMP_TROUBLES,
        ),
        Call(
            action="subscribe",
            method="PUT",
            path=_MEMBER,
            json=_MailchimpMember,
            answer=Reply(body={"id": "852aaa9532cb36adfb5e9fef7a4206a9", "status": "pending"}),
            invalid=_MAILCHIMP_INVALID,
            troubles=_MAILCHIMP_TROUBLES,
        ),
    ),
)


class _BrazeEvent(Schema, frozen=True, kw_only=True):
    external_id: _Filled
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    time: _Instant
    properties: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    app_id: str | msgspec.UnsetType = msgspec.UNSET
    _update_existing_only: bool | msgspec.UnsetType = msgspec.UNSET


class _BrazePurchase(Schema, frozen=True, kw_only=True):
    external_id: _Filled
    product_id: Annotated[str, Meta(min_length=1, max_length=255)]
    currency: Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")]
    price: float
    quantity: Annotated[int, Meta(ge=1, le=100)]
    time: _Instant


class _BrazeEvents(Schema, frozen=True, kw_only=True):
    events: Annotated[list[_BrazeEvent], Meta(min_length=1, max_length=75)]


class _BrazePurchases(Schema, frozen=True, kw_only=True):
    purchases: Annotated[list[_BrazePurchase], Meta(min_length=1, max_length=75)]


class _BrazeAttributes(Schema, frozen=True, kw_only=True):
    attributes: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=75)]


def _braze_attributes(received: Received, _now_ms: int) -> str | None:
    for attributes in msgspec.json.decode(received.body)["attributes"]:
        if not attributes.get("external_id"):
            return "an object has no identifier"
        if attributes.get("email_subscribe", "subscribed") not in {"subscribed", "unsubscribed", "opted_in"}:
            return "BAD_EMAIL_SUBSCRIPTION_STATE"
    return None


_BRAZE_TROUBLES = {
    "partial errors in a 201": stop(
        {
            "message": "success",
            "events_processed": 0,
            "errors": [
                {"type": "The value provided for the 'name' field is empty", "input_array": "events", "index": 0}
            ],
        },
        status=201,
    ),
    "fatal": stop({"message": "Valid data must be provided in the 'attributes' field", "errors": []}, status=400),
    "rate limit": retry({"message": "Rate limit exceeded"}, status=429),
    "server error": retry({"message": "Internal server error"}, status=500),
}


def _braze_call(action: str, schema: type[Schema], spoken: str | None, **more: Any) -> Call:
    return Call(
        action=action,
        path="/users/track",
        json=schema,
        spoken=spoken,
        answer=Reply(status=201, body={"message": "success", "events_processed": 1}),
        invalid=Reply(status=400, body={"message": "invalid", "errors": ["invalid"]}),
        troubles=_BRAZE_TROUBLES,
        **more,
    )


BRAZE = Vendor(
    connector="braze",
    host="rest.fra-02.braze.eu",
    credentials={"host": "rest.fra-02.braze.eu", "api_key": "11111111-other"},
    authorized=bearer("11111111-other"),
    unauthorized=stop({"message": "Invalid API key: wrong"}, status=401),
    calls=(
        _braze_call("track_event", _BrazeEvents, "event"),
        _braze_call("set_attributes", _BrazeAttributes, None, check=_braze_attributes, is_open=True),
        _braze_call("track_purchase", _BrazePurchases, "product_id"),
    ),
)


class _CustomerEvent(Schema, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    data: dict[str, Any]
    timestamp: int


_CUSTOMERIO_TROUBLES = {
    "rate limit": retry({"meta": {"error": "too many requests"}}, status=429),
    "bad request": stop({"meta": {"errors": ["event name is too long"]}}, status=400),
    "server error": retry({}, status=500),
}

CUSTOMERIO = Vendor(
    connector="customerio",
    host="track-eu.customer.io",
    credentials={"host": "track-eu.customer.io", "site_id": "otherSite", "api_key": "otherKey"},
    authorized=basic("otherSite", "otherKey"),
    unauthorized=stop({"meta": {"error": "unauthorized"}}, status=401),
    calls=(
        Call(action="test", method="GET", path="/api/v1/accounts/region", answer=Reply(body={"region": "eu"})),
        Call(
            action="send_event",
            path="/api/v1/customers/u-17/events",
            json=_CustomerEvent,
            spoken="event",
            answer=Reply(body={}),
            troubles=_CUSTOMERIO_TROUBLES,
        ),
        Call(
            action="identify",
            method="PUT",
            path="/api/v1/customers/u-17",
            json=dict[str, Any],
            is_open=True,
            answer=Reply(body={}),
            troubles=_CUSTOMERIO_TROUBLES,
        ),
    ),
)


class _Ga4Account(Schema, frozen=True, kw_only=True):
    measurement_id: Annotated[str, Meta(pattern=r"\AG-")]
    api_secret: str


class _Ga4Event(Schema, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_]{0,39}\Z")]
    params: dict[str, str | int | float]


class _Ga4Events(Schema, frozen=True, kw_only=True):
    client_id: _Filled
    events: Annotated[list[_Ga4Event], Meta(min_length=1, max_length=25)]
    user_id: str | msgspec.UnsetType = msgspec.UNSET
    timestamp_micros: Annotated[int, Meta(ge=10**15)] | msgspec.UnsetType = msgspec.UNSET


GA4 = Vendor(
    connector="ga4",
    host="www.google-analytics.com",
    credentials={"measurement_id": "G-OTHER", "api_secret": "other&secret"},
    authorized=with_parameter("api_secret", "other&secret"),
    unauthorized=accepted(status=204),
    calls=(
        Call(
            action="test",
            path="/debug/mp/collect",
            query=_Ga4Account,
            json=_Ga4Events,
            answer=Reply(body={"validationMessages": []}),
            invalid=Reply(body={"validationMessages": [{"description": "no", "validationCode": "VALUE_INVALID"}]}),
            troubles={
                "not valid in a 200": stop(
                    {"validationMessages": [{"description": "name_invalid", "validationCode": "NAME_INVALID"}]}
                ),
            },
        ),
        Call(
            action="send_event",
            path="/mp/collect",
            query=_Ga4Account,
            json=_Ga4Events,
            answer=Reply(status=204),
            invalid=Reply(status=204),
            troubles={"server error": retry(b"", status=503)},
        ),
    ),
)


class _SegmentTrack(Schema, frozen=True, kw_only=True):
    userId: _Filled  # noqa: N815 - Segment's name
    event: _Filled
    properties: dict[str, Any]
    messageId: Annotated[str, Meta(min_length=1, max_length=100)]  # noqa: N815 - Segment's name
    timestamp: _Instant


class _SegmentIdentify(Schema, frozen=True, kw_only=True):
    userId: _Filled  # noqa: N815 - Segment's name
    traits: dict[str, Any]
    messageId: Annotated[str, Meta(min_length=1, max_length=100)]  # noqa: N815 - Segment's name
    timestamp: _Instant


_SEGMENT_TROUBLES = {
    "rate limit": retry(b"", status=429, after=3, Retry_After="3"),
    "too large": stop({"message": "payload too large"}, status=400),
    "server error": retry(b"", status=500),
}

SEGMENT = Vendor(
    connector="segment",
    host="events.eu1.segmentapis.com",
    credentials={"host": "events.eu1.segmentapis.com", "write_key": "otherKey"},
    authorized=basic("otherKey", ""),
    unauthorized=stop({"success": False, "message": "invalid write key"}, status=401),
    calls=(
        Call(
            action="track",
            path="/v1/track",
            json=_SegmentTrack,
            spoken="event",
            answer=Reply(body={"success": True}),
            troubles=_SEGMENT_TROUBLES,
        ),
        Call(
            action="identify",
            path="/v1/identify",
            json=_SegmentIdentify,
            answer=Reply(body={"success": True}),
            troubles=_SEGMENT_TROUBLES,
        ),
    ),
)


class _AmplitudeEvent(Schema, frozen=True, kw_only=True):
    user_id: Annotated[str, Meta(min_length=5)]
    event_type: _Filled
    insert_id: _Filled
    time: Annotated[int, Meta(ge=10**12)]
    event_properties: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    user_properties: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _AmplitudeEvents(Schema, frozen=True, kw_only=True):
    api_key: str
    events: Annotated[list[_AmplitudeEvent], Meta(min_length=1, max_length=2000)]


def _amplitude_key(received: Received) -> bool:
    return bool(msgspec.json.decode(received.body).get("api_key") == 'other"key')


AMPLITUDE = Vendor(
    connector="amplitude",
    host="api.eu.amplitude.com",
    credentials={"host": "api.eu.amplitude.com", "api_key": 'other"key'},
    authorized=_amplitude_key,
    unauthorized=stop({"code": 400, "error": "Invalid API key: wrong"}, status=400),
    calls=(
        Call(
            action="send_event",
            path="/2/httpapi",
            json=_AmplitudeEvents,
            spoken="event",
            answer=Reply(body={"code": 200, "events_ingested": 1, "payload_size_bytes": 50}),
            invalid=Reply(status=400, body={"code": 400, "error": "Request missing required field"}),
            troubles={
                "throttled": retry({"code": 429, "error": "Too many requests for some users"}, status=429),
                "too large": stop({"code": 413, "error": "Payload too large"}, status=413),
                "server error": retry({"code": 503, "error": "Service unavailable"}, status=503),
            },
        ),
    ),
)

MARKETING = (MAILCHIMP, BRAZE, CUSTOMERIO, GA4, SEGMENT, AMPLITUDE)
