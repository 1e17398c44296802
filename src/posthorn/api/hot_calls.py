"""The OpenAPI description of the three calls that `posthorn.receive` answers before the framework is reached.

Their bodies are described from the very structs that `receive` decodes, so that the description cannot fall behind.
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from posthorn.api.rendering import Out
from posthorn.receive.events import BATCH_LIMIT_BYTES, EVENT_LIMIT_BYTES, MOST_EVENTS, EventIn
from posthorn.receive.messages import MESSAGE_LIMIT_BYTES, MessageIn, MessageOut

_REF = "#/components/schemas/{name}"
_MIB = 1024 * 1024


class AcceptedEventOut(Out, frozen=True, kw_only=True):
    """The answer to one event."""

    id: str
    uid: str | None
    type: str
    time: str


class AcceptedEventRowOut(Out, frozen=True, kw_only=True):
    """What became of one event of several; for a duplicate and a conflict `id` is that of the event that is there."""

    id: str
    uid: str | None
    status: Literal["accepted", "duplicate", "conflict"]
    detail: str | None = None


class AcceptedEventsOut(Out, frozen=True, kw_only=True):
    """The answer to several events, in their order."""

    data: list[AcceptedEventRowOut]


def schemas() -> dict[str, Any]:
    """Return the JSON Schemas of the calls, by name."""
    described: list[type[Struct]] = [
        _describable(MessageIn, "MessageIn", raw=dict[str, Any]),
        # The framework describes another MessageOut, that of stored messages.
        _describable(MessageOut, "AcceptedMessageOut", raw=dict[str, Any]),
        _describable(EventIn, "EventIn", raw=Any),
        AcceptedEventOut,
        AcceptedEventRowOut,
        AcceptedEventsOut,
    ]
    _, components = msgspec.json.schema_components(described, ref_template=_REF)
    return _with_own_names(components, {struct.__name__ for struct in described})


def _with_own_names(components: dict[str, Any], named: set[str]) -> dict[str, Any]:
    """Call what stands within the calls' bodies by names of its own: the framework may describe the same structs."""
    text = msgspec.json.encode(components)
    inner = components.keys() - named
    for name in inner:
        reference = msgspec.json.encode(_REF.format(name=name))
        text = text.replace(reference, msgspec.json.encode(_REF.format(name=f"Event{name}")))
    renamed: dict[str, Any] = msgspec.json.decode(text)
    return {f"Event{name}" if name in inner else name: schema for name, schema in renamed.items()}


def _describable(struct: type[Struct], name: str, *, raw: Any) -> type[Struct]:
    """Return a struct of the same fields with `raw` in place of `Raw`, whose defaults msgspec cannot describe."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        kind = raw if field.type is Raw else field.type
        if field.required:
            fields.append((field.encode_name, kind))
        else:
            default = msgspec.json.decode(field.default) if isinstance(field.default, Raw) else field.default
            fields.append((field.encode_name, kind, default))
    return msgspec.defstruct(
        name,
        fields,
        namespace={"__doc__": struct.__doc__},
        kw_only=True,
        forbid_unknown_fields=struct.__struct_config__.forbid_unknown_fields,
    )


def paths(prefix: str) -> dict[str, dict[str, Any]]:
    """Return the operations, by path and method; `prefix` is that of all paths.

    The first sentence of a description is to become the summary, as with the handlers' docstrings.
    """
    return {
        f"{prefix}/app/{{app_id}}/msg": {"post": _message()},
        f"{prefix}/event": {"post": _event()},
        f"{prefix}/event/cloudevents": {"post": _cloudevents()},
    }


def _message() -> dict[str, Any]:
    return {
        "operationId": "v1.app.create-message",
        "description": (
            "Send a message to an application. It is stored with what every endpoint that wants it is owed, then "
            f"answered. The payload is delivered byte for byte. The body has at most {MESSAGE_LIMIT_BYTES // _MIB} MiB."
        ),
        "parameters": [
            {"name": "app_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "with_content",
                "in": "query",
                "description": "With `false` the payload of the answer is `{}`.",
                "schema": {"type": "boolean", "default": True},
            },
        ],
        "requestBody": {"required": True, "content": _json(_ref("MessageIn"))},
        "responses": {
            "202": {
                "description": "It is stored.",
                "headers": {
                    "Idempotent-Replayed": {
                        "description": "`true` when this is the answer to an earlier call under the same key.",
                        "schema": {"type": "string"},
                    }
                },
                "content": _json(_ref("AcceptedMessageOut")),
            },
            "404": _failure("There is no such application."),
            "409": _failure("The eventId exists already, or the Idempotency-Key was used with another call."),
            **_shared_failures(),
        },
    }


def _event() -> dict[str, Any]:
    several = {"type": "array", "items": _ref("EventIn"), "minItems": 1, "maxItems": MOST_EVENTS}
    lines = {
        "type": "string",
        "description": f"1 to {MOST_EVENTS} lines, each of them an EventIn; empty lines are skipped.",
    }
    return {
        "operationId": "v1.event.create-event",
        "description": (
            f"Take in one event or several. Send one, an array of 1 to {MOST_EVENTS}, or as many lines of NDJSON. "
            "When one of them is wrong, none is taken. "
            f"The body has at most {BATCH_LIMIT_BYTES // _MIB} MiB, "
            f"each `data` at most {EVENT_LIMIT_BYTES // _MIB} MiB."
        ),
        "requestBody": {
            "required": True,
            "content": {
                **_json({"oneOf": [_ref("EventIn"), several]}),
                "application/x-ndjson": {"schema": lines},
            },
        },
        "responses": {
            "202": {
                "description": "One event is answered on its own, several as a list of what became of each.",
                "content": _json({"oneOf": [_ref("AcceptedEventOut"), _ref("AcceptedEventsOut")]}),
            },
            "409": _failure(
                "The id exists already with other content, or the Idempotency-Key was used with another call."
            ),
            **_shared_failures(),
        },
    }


def _cloudevents() -> dict[str, Any]:
    event = {"type": "object", "description": "A CloudEvent 1.0 in its JSON format."}
    return {
        "operationId": "v1.event.create-cloudevents",
        "description": (
            "Take in a CloudEvent in structured or binary mode, or a batch of them. "
            f"A batch has 1 to {MOST_EVENTS} events; when one of them is wrong, none is taken. "
            "The same source and id is the same event."
        ),
        "parameters": [
            {
                "name": "user",
                "in": "query",
                "description": "The attribute that names the person, or `data.` and a path into the data.",
                "schema": {"type": "string", "default": "user"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": {"schema": event},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": event}},
                "*/*": {"schema": {"description": "The data of an event in binary mode: its attributes are headers."}},
            },
        },
        "responses": {
            "202": {
                "description": "One event is answered on its own, a batch as a list of what became of each.",
                "content": _json({"oneOf": [_ref("AcceptedEventOut"), _ref("AcceptedEventsOut")]}),
            },
            "409": _failure("The Idempotency-Key was used with another call."),
            **_shared_failures(),
        },
    }


def _shared_failures() -> dict[str, Any]:
    return {
        "413": _failure("The body is too large."),
        "422": _failure("The body or a header is wrong: `detail` is the list of problems."),
        "503": _failure("It is not or not wholly stored; Retry-After says when to come back."),
    }


def _failure(description: str) -> dict[str, Any]:
    return {"description": description, "content": _json(_ref("Failure"))}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}
