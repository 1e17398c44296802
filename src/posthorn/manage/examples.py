"""Sending an example of an event type to one endpoint."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from posthorn.engine.directory import Directory
from posthorn.engine.records import Event
from posthorn.engine.resources import Application, Endpoint, EventType
from posthorn.errors import Conflict, Invalid

#: (workspace, application id, event type, payload, id of the one endpoint that receives it) → the event, durable.
Publish = Callable[[str, str, str, bytes, str | None], Awaitable[Event]]


class Examples:
    """Makes a message out of an event type's examples. `publish` appends it and fans it out to one endpoint."""

    def __init__(self, directory: Directory, publish: Publish) -> None:
        self._directory = directory
        self._publish = publish

    async def send(
        self,
        application: Application,
        endpoint: Endpoint,
        event_type: str,
        *,
        index: int = 0,
        payload: dict[str, Any] | None = None,
    ) -> Event:
        """Send the example at this index of the newest schema, or a payload of the caller's.

        The endpoint's filters are not asked: whoever sends an example wants to see it arrive. Raises Invalid when
        there is no such example, Conflict when the endpoint is disabled.
        """
        if endpoint.disabled:
            raise Conflict("the endpoint is disabled; enable it first")
        example = payload
        if example is None:
            known = self._directory.event_type(application.workspace, event_type)
            if known is None:
                raise Invalid.at("eventType", msg="there is no such event type; give a payload or create it")
            example = _example(known, index)
        body = msgspec.json.encode(example)
        return await self._publish(application.workspace, application.id, event_type, body, endpoint.id)


def _example(event_type: EventType, index: int) -> dict[str, Any]:
    schemas = event_type.schemas or {}
    newest = max(schemas, key=_version, default=None)
    schema = schemas[newest] if newest is not None else None
    examples = schema.get("examples") if isinstance(schema, dict) else None
    if not isinstance(examples, list) or not examples:
        raise Invalid.at("eventType", msg="its schema has no examples; add some, or give a payload")
    if index >= len(examples):
        raise Invalid.at("exampleIndex", msg=f"its schema has {len(examples)} examples, counted from 0")
    example = examples[index]
    if not isinstance(example, dict):
        raise Invalid.at("exampleIndex", msg="this example is no JSON object, and a message's payload must be one")
    return example


def _version(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 0, name)
