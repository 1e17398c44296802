"""Doubles of CRM systems: HubSpot, Salesforce."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import (
    Call,
    Reply,
    Schema,
    Vendor,
    bearer,
    retry,
    stop,
)

_INSTANT = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\+00:00)\Z"
_Day = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
_Instant = Annotated[str, Meta(pattern=_INSTANT)]
_Digits = Annotated[str, Meta(pattern=r"\A[0-9]+\Z")]
_Filled = Annotated[str, Meta(min_length=1)]


class _HubSpotTaskProperties(Schema, frozen=True, kw_only=True):
    hs_timestamp: _Instant
    hs_task_subject: _Filled
    hs_task_status: Literal["NOT_STARTED", "IN_PROGRESS", "WAITING", "COMPLETED", "DEFERRED"]
    hs_task_priority: Literal["LOW", "MEDIUM", "HIGH"]
    hs_task_body: str | msgspec.UnsetType = msgspec.UNSET
    hubspot_owner_id: _Digits | msgspec.UnsetType = msgspec.UNSET


class _HubSpotId(Schema, frozen=True, kw_only=True):
    id: _Digits


class _HubSpotType(Schema, frozen=True, kw_only=True):
    associationCategory: Literal["HUBSPOT_DEFINED"]  # noqa: N815 - HubSpot's name
    associationTypeId: Literal[204]  # noqa: N815 - HubSpot's name; a task to a contact


class _HubSpotAssociation(Schema, frozen=True, kw_only=True):
    to: _HubSpotId
    types: Annotated[list[_HubSpotType], Meta(min_length=1)]


class _HubSpotTask(Schema, frozen=True, kw_only=True):
    properties: _HubSpotTaskProperties
    associations: list[_HubSpotAssociation]


class _HubSpotContact(Schema, frozen=True, kw_only=True):
    idProperty: Literal["email"]  # noqa: N815 - HubSpot's name
    id: Annotated[str, Meta(pattern="@")]
    properties: dict[str, str]


class _HubSpotContacts(Schema, frozen=True, kw_only=True):
    inputs: Annotated[list[_HubSpotContact], Meta(min_length=1, max_length=100)]


class _HubSpotStatus(Schema, frozen=True, kw_only=True):
    channel: Literal["EMAIL"]
    statusState: Literal["SUBSCRIBED", "UNSUBSCRIBED", "NOT_SPECIFIED"]  # noqa: N815 - HubSpot's name
    subscriptionId: int  # noqa: N815 - HubSpot's name


def _hubspot_error(category: str, text: str) -> dict[str, Any]:
    return {"status": "error", "message": text, "correlationId": "a43683b0", "category": category}


_HUBSPOT_TROUBLES = {
    "rate limit": retry(
        {
            **_hubspot_error("RATE_LIMITS", "You have reached your ten_secondly_rolling limit."),
            "policyName": "SECONDLY",
        },
        status=429,
    ),
    "locked": retry(_hubspot_error("LOCKED", "the record is locked"), status=423, after=2, Retry_After="2"),
    "server error": retry(b"<html></html>", status=502),
    "missing scope": stop(
        _hubspot_error("MISSING_SCOPES", "This app hasn't been granted all required scopes"), status=403
    ),
}
_HUBSPOT_INVALID = Reply(status=400, body=_hubspot_error("VALIDATION_ERROR", "Invalid input JSON"))

HUBSPOT = Vendor(
    connector="hubspot",
    host="api.hubapi.com",
    credentials={"token": "pat-eu1-other"},
    authorized=bearer("pat-eu1-other"),
    unauthorized=stop(_hubspot_error("INVALID_AUTHENTICATION", "Authentication credentials not found."), status=401),
    calls=(
        Call(action="test", method="GET", path="/account-info/v3/details", answer=Reply(body={"portalId": 1})),
        Call(
            action="task_add",
            path="/crm/v3/objects/tasks",
            json=_HubSpotTask,
            spoken="subject",
            answer=Reply(status=201, body={"id": "45", "properties": {}, "archived": False}),
            invalid=_HUBSPOT_INVALID,
            troubles=_HUBSPOT_TROUBLES,
        ),
        Call(
            action="contact_upsert",
            path="/crm/v3/objects/contacts/batch/upsert",
            json=_HubSpotContacts,
            answer=Reply(body={"status": "COMPLETE", "results": [{"id": "101", "new": True, "properties": {}}]}),
            invalid=_HUBSPOT_INVALID,
            troubles={
                **_HUBSPOT_TROUBLES,
                "partial failure in a 207": stop(
                    {
                        "status": "COMPLETE",
                        "results": [],
                        "numErrors": 1,
                        "errors": [_hubspot_error("VALIDATION_ERROR", "Property values were not valid")],
                    },
                    status=207,
                ),
            },
        ),
        Call(
            action="unsubscribe",
            path="/communication-preferences/v4/statuses/anna%40example.com",
            json=_HubSpotStatus,
            answer=Reply(body={"status": "COMPLETE", "results": [{"status": "UNSUBSCRIBED", "channel": "EMAIL"}]}),
            invalid=_HUBSPOT_INVALID,
            troubles=_HUBSPOT_TROUBLES,
        ),
    ),
)


class _SalesforceTask(Schema, frozen=True, kw_only=True):
    Subject: Annotated[str, Meta(min_length=1, max_length=255)]
    Status: Literal["Not Started", "In Progress", "Completed"]
    Priority: Literal["High", "Normal", "Low"]
    ActivityDate: _Day
    Description: str | msgspec.UnsetType = msgspec.UNSET
    WhoId: Annotated[str, Meta(pattern=r"\A00[3Q]")] | msgspec.UnsetType = msgspec.UNSET
    OwnerId: Annotated[str, Meta(pattern=r"\A005")] | msgspec.UnsetType = msgspec.UNSET


class _SalesforceToken(Schema, frozen=True, kw_only=True):
    grant_type: Literal["client_credentials"]
    client_id: Literal["3MVG9+other/key"]
    client_secret: Literal["other&secret="]


def _salesforce_error(code: str, text: str) -> list[dict[str, Any]]:
    return [{"message": text, "errorCode": code, "fields": []}]


_SALESFORCE_TOKEN = "00Dxx!short.lived"  # noqa: S105 - an account of the double

SALESFORCE = Vendor(
    connector="salesforce",
    host="other--dev.sandbox.my.salesforce.com",
    credentials={
        "host": "other--dev.sandbox.my.salesforce.com",
        "client_id": "3MVG9+other/key",
        "client_secret": "other&secret=",
    },
    token=_SALESFORCE_TOKEN,
    authorized=bearer(_SALESFORCE_TOKEN),
    unauthorized=retry(_salesforce_error("INVALID_SESSION_ID", "Session expired or invalid"), status=401),
    calls=(
        Call(
            action="token",
            path="/services/oauth2/token",
            form=_SalesforceToken,
            answer=Reply(body={"access_token": _SALESFORCE_TOKEN, "token_type": "Bearer", "issued_at": "1"}),
            invalid=Reply(
                status=400, body={"error": "invalid_client", "error_description": "invalid client credentials"}
            ),
        ),
        Call(
            action="test", method="GET", path="/services/data/v61.0/limits", answer=Reply(body={"DailyApiRequests": {}})
        ),
        Call(
            action="task_add",
            path="/services/data/v61.0/sobjects/Task",
            json=_SalesforceTask,
            spoken="subject",
            answer=Reply(status=201, body={"id": "00T5e00000ABCDE", "success": True, "errors": []}),
            invalid=Reply(status=400, body=_salesforce_error("JSON_PARSER_ERROR", "No such column")),
            troubles={
                "request limit in a 403": retry(
                    _salesforce_error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), status=403
                ),
                "row lock in a 400": retry(
                    _salesforce_error("UNABLE_TO_LOCK_ROW", "unable to obtain access"), status=400
                ),
                "missing field": stop(_salesforce_error("REQUIRED_FIELD_MISSING", "Required fields"), status=400),
            },
        ),
    ),
)

CRM = (HUBSPOT, SALESFORCE)
