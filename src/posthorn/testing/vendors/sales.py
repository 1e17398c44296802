"""Doubles of CRM systems for sales: Bitrix24, amoCRM / Kommo, Pipedrive."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from posthorn.testing.vendors.double import (
    Call,
    Reply,
    Schema,
    Trouble,
    Vendor,
    bearer,
    retry,
    stop,
    with_header,
    with_path,
)

_INSTANT = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\+00:00)\Z"
_Day = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
_Instant = Annotated[str, Meta(pattern=_INSTANT)]
_Digits = Annotated[str, Meta(pattern=r"\A[0-9]+\Z")]
_Filled = Annotated[str, Meta(min_length=1)]


class _BitrixTaskFields(Schema, frozen=True, kw_only=True):
    TITLE: _Filled
    RESPONSIBLE_ID: int
    DEADLINE: _Instant
    DESCRIPTION: str | msgspec.UnsetType = msgspec.UNSET
    UF_CRM_TASK: list[Annotated[str, Meta(pattern=r"\A(L|D|C|CO)_[0-9]+\Z")]] | msgspec.UnsetType = msgspec.UNSET


class _BitrixTask(Schema, frozen=True, kw_only=True):
    fields: _BitrixTaskFields


class _BitrixValue(Schema, frozen=True, kw_only=True):
    VALUE: _Filled
    VALUE_TYPE: Literal["WORK", "HOME", "MOBILE", "OTHER"]


class _BitrixLeadFields(Schema, frozen=True, kw_only=True):
    TITLE: _Filled
    NAME: str | msgspec.UnsetType = msgspec.UNSET
    PHONE: list[_BitrixValue] | msgspec.UnsetType = msgspec.UNSET
    EMAIL: list[_BitrixValue] | msgspec.UnsetType = msgspec.UNSET
    COMMENTS: str | msgspec.UnsetType = msgspec.UNSET
    SOURCE_ID: str | msgspec.UnsetType = msgspec.UNSET
    ASSIGNED_BY_ID: int | msgspec.UnsetType = msgspec.UNSET


class _BitrixLead(Schema, frozen=True, kw_only=True):
    fields: _BitrixLeadFields


class _BitrixToDo(Schema, frozen=True, kw_only=True):
    ownerTypeId: Literal[1, 2, 3, 4]  # noqa: N815 - Bitrix24's name
    ownerId: int  # noqa: N815 - Bitrix24's name
    deadline: _Instant
    description: _Filled
    title: str | msgspec.UnsetType = msgspec.UNSET
    responsibleId: int | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - Bitrix24's name


class _Empty(Schema, frozen=True, kw_only=True):
    pass


def _bitrix_error(code: str, text: str) -> dict[str, Any]:
    return {"error": code, "error_description": text}


_BITRIX_TROUBLES = {
    "query limit in a 503": retry(_bitrix_error("QUERY_LIMIT_EXCEEDED", "Too many requests"), status=503),
    "operation time limit": retry(_bitrix_error("OPERATION_TIME_LIMIT", "Method is blocked"), status=429),
    "overload in a 400": retry(_bitrix_error("OVERLOAD_LIMIT", "REST API is blocked due to overload."), status=400),
    "wrong field": stop(_bitrix_error("ERROR_CORE", "Не указан исполнитель"), status=400),
    "no rights": stop(_bitrix_error("insufficient_scope", "The request requires higher privileges"), status=403),
    "portal renamed": stop(b"", status=302),
}


def _bitrix_call(action: str, method: str, schema: type[Schema], spoken: str | None, result: Any) -> Call:
    return Call(
        action=action,
        path=f"/rest/17/[^/]+/{method}",
        json=schema,
        spoken=spoken,
        answer=Reply(body={"result": result, "time": {"start": 1.0, "finish": 1.1}}),
        invalid=Reply(status=400, body=_bitrix_error("ERROR_CORE", "Invalid parameters")),
        troubles=_BITRIX_TROUBLES if action != "test" else {},
    )


BITRIX24 = Vendor(
    connector="bitrix24",
    host="crm.other-company.example",
    credentials={"portal": "crm.other-company.example", "user_id": "17", "code": "other0code"},
    authorized=with_path("/rest/17/other0code/"),
    unauthorized=stop(_bitrix_error("INVALID_CREDENTIALS", "Invalid request credentials"), status=401),
    calls=(
        _bitrix_call("test", "profile", _Empty, None, {"ID": "17", "NAME": "Анна"}),
        _bitrix_call("task_add", "tasks.task.add", _BitrixTask, "title", {"task": {"id": "3711", "title": "x"}}),
        _bitrix_call("lead_add", "crm.lead.add", _BitrixLead, "title", 1609),
        _bitrix_call("activity_add", "crm.activity.todo.add", _BitrixToDo, "description", {"id": 999}),
    ),
)


class _AmoTask(Schema, frozen=True, kw_only=True):
    task_type_id: int
    text: _Filled
    complete_till: Annotated[int, Meta(ge=1_000_000_000, le=10_000_000_000)]
    request_id: str
    entity_id: int | msgspec.UnsetType = msgspec.UNSET
    entity_type: Literal["leads", "contacts", "companies", "customers"] | msgspec.UnsetType = msgspec.UNSET
    responsible_user_id: int | msgspec.UnsetType = msgspec.UNSET


class _AmoValue(Schema, frozen=True, kw_only=True):
    value: str
    enum_code: Literal["WORK", "MOB", "OTHER"]


class _AmoField(Schema, frozen=True, kw_only=True):
    field_code: Literal["PHONE", "EMAIL"]
    values: Annotated[list[_AmoValue], Meta(min_length=1)]


class _AmoContact(Schema, frozen=True, kw_only=True):
    first_name: _Filled
    custom_fields_values: list[_AmoField] | msgspec.UnsetType = msgspec.UNSET


class _AmoEmbedded(Schema, frozen=True, kw_only=True):
    contacts: Annotated[list[_AmoContact], Meta(min_length=1, max_length=1)]


class _AmoLead(Schema, frozen=True, kw_only=True, rename={"embedded": "_embedded"}):
    name: _Filled
    request_id: str
    embedded: _AmoEmbedded
    price: int | msgspec.UnsetType = msgspec.UNSET


def _amo_error(status: int, title: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "https://httpstatus.es", "title": title, "status": status, "detail": text, **more}


def _amo_call(action: str, path: str, schema: Any, spoken: str, answer: Any) -> Call:
    troubles: dict[str, Trouble] = {
        "too many requests": retry(_amo_error(429, "Too Many Requests", "limit"), status=429),
        "timeout": retry(b"", status=504),
        "not paid": stop(_amo_error(402, "Payment Required", "Account is not paid"), status=402),
        "not valid": stop(_amo_error(400, "Bad Request", "Request validation failed"), status=400),
        "an empty 200": stop({"_links": {}}),
    }
    return Call(
        action=action,
        path=path,
        json=Annotated[list[schema], Meta(min_length=1, max_length=50)],
        spoken=spoken,
        answer=Reply(body=answer, headers={"Content-Type": "application/hal+json"}),
        invalid=Reply(status=400, body=_amo_error(400, "Bad Request", "Request validation failed")),
        troubles=troubles,
    )


AMOCRM = Vendor(
    connector="amocrm",
    host="other.kommo.com",
    credentials={"subdomain": "other", "domain": "kommo.com", "token": "eyJ.other.token"},
    authorized=bearer("eyJ.other.token"),
    unauthorized=stop(_amo_error(401, "Unauthorized", "Неверный логин или пароль"), status=401),
    calls=(
        Call(action="test", method="GET", path="/api/v4/account", answer=Reply(body={"id": 28805383, "name": "Shop"})),
        _amo_call("task_add", "/api/v4/tasks", _AmoTask, "text", {"_embedded": {"tasks": [{"id": 4745251}]}}),
        _amo_call(
            "lead_add", "/api/v4/leads/complex", _AmoLead, "name", [{"id": 10185151, "contact_id": 1, "merged": False}]
        ),
    ),
)


class _PipedriveParticipant(Schema, frozen=True, kw_only=True):
    person_id: int
    primary: bool


class _PipedriveActivity(Schema, frozen=True, kw_only=True):
    subject: _Filled
    type: _Filled
    due_date: _Day
    due_time: Annotated[str, Meta(pattern=r"\A[0-9]{2}:[0-9]{2}(:[0-9]{2})?\Z")]
    note: str | msgspec.UnsetType = msgspec.UNSET
    participants: list[_PipedriveParticipant] | msgspec.UnsetType = msgspec.UNSET
    deal_id: int | msgspec.UnsetType = msgspec.UNSET
    owner_id: int | msgspec.UnsetType = msgspec.UNSET


PIPEDRIVE = Vendor(
    connector="pipedrive",
    host="other.pipedrive.com",
    credentials={"company": "other", "token": "other-pipedrive-token"},
    authorized=with_header("x-api-token", "other-pipedrive-token"),
    unauthorized=stop({"success": False, "error": "unauthorized access", "errorCode": 401}, status=401),
    calls=(
        Call(
            action="test",
            method="GET",
            path="/api/v1/users/me",
            answer=Reply(body={"success": True, "data": {"id": 1}}),
        ),
        Call(
            action="activity_add",
            path="/api/v2/activities",
            json=_PipedriveActivity,
            spoken="subject",
            answer=Reply(status=201, body={"success": True, "data": {"id": 1}}),
            invalid=Reply(status=400, body={"success": False, "error": "Validation failed", "code": "ERR_BAD_REQUEST"}),
            troubles={
                "rate limit": retry(
                    {"success": False, "error": "request over limit"}, status=429, after=2, x_ratelimit_reset="2"
                ),
                "failure in a 200": stop({"success": False, "error": "'person_id' is a read-only field."}),
                "server error": retry({"success": False, "error": "internal"}, status=500),
            },
        ),
    ),
)

SALES = (BITRIX24, AMOCRM, PIPEDRIVE)
