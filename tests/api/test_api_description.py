"""The OpenAPI document: whole, well-formed, and true to what is answered."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from served import World

from posthorn.api import PREFIX, build_app, hot_calls
from posthorn.engine.hints import Hints
from posthorn.receive.events import MOST_EVENTS, EventIn, Events
from posthorn.receive.http import Receive, Scope, Send
from posthorn.receive.intake import Intake
from posthorn.receive.messages import MessageIn, MessageOut, Messages
from posthorn.receive.routing import Routing

METHODS = {"get", "put", "post", "delete", "head", "patch"}
TYPES = {"null", "boolean", "object", "array", "number", "string", "integer"}
COMPONENT_NAME = re.compile(r"[a-zA-Z0-9._-]+")
OPERATION_ID = re.compile(r"v1\.[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")
MESSAGE_PATH = "/api/v1/app/{app_id}/msg"
EVENT_PATH = "/api/v1/event"

Document = dict[str, Any]


@pytest.fixture
async def document(http: httpx.AsyncClient) -> Document:
    described: Document = (await http.get("/openapi.json")).json()
    return described


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def nodes(value: Any) -> Iterator[Document]:
    """Yield every object of the document."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from nodes(each)


def resolved(document: Document, reference: str) -> Any:
    root, *steps = reference.split("/")
    assert root == "#"
    found: Any = document
    for step in steps:
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def schemas(document: Document) -> Iterator[Document]:
    """Yield every schema of the document, nested ones too."""
    pending = list(document["components"]["schemas"].values())
    pending += [node["schema"] for node in nodes(document["paths"]) if isinstance(node.get("schema"), dict)]
    while pending:
        schema = pending.pop()
        yield schema
        pending += schema.get("properties", {}).values()
        for key in ("items", "additionalProperties"):
            pending += [schema[key]] if isinstance(schema.get(key), dict) else []
        for key in ("oneOf", "anyOf", "allOf"):
            pending += schema.get(key, [])


async def test_every_operation_has_a_summary_and_a_name_of_its_own(document: Document) -> None:
    described = list(operations(document))
    summaries = [operation["summary"] for _, method, operation in described if method != "head"]
    assert [each for each in summaries if not each or each.endswith(".") or "\n" in each] == []
    assert len(set(summaries)) == len(summaries)
    names = [operation["operationId"] for _, _, operation in described]
    assert [name for name in names if not OPERATION_ID.fullmatch(name)] == []
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("get", "/app", "v1.app.list-applications"),
        ("post", "/app/{app_id}/msg", "v1.app.create-message"),
        ("post", "/app/{app_id}/endpoint/{endpoint_id}/secret/rotate", "v1.endpoint.rotate-secret"),
        ("post", "/source/{source_id}/secret/rotate", "v1.source.rotate-secret"),
        ("get", "/secret/{name}", "v1.secret.get-secret"),
        ("get", "/attempt/{attempt_id}", "v1.attempt.get-attempt"),
        ("post", "/event", "v1.event.create-event"),
        ("head", "/health", "v1.health.get-health-head"),
    ],
)
async def test_an_operation_is_named_after_its_thing_and_its_handler(
    document: Document, method: str, path: str, name: str
) -> None:
    assert document["paths"][PREFIX + path][method]["operationId"] == name


async def test_what_a_docstring_says_after_its_first_sentence_is_the_description(document: Document) -> None:
    made = document["paths"]["/api/v1/api-key"]["post"]
    assert made["summary"] == "Make a key"
    assert made["description"] == "The answer is the only place where its token is shown."


async def test_the_document_has_the_shape_of_openapi_3_1(document: Document) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert {"title", "version"} <= document["info"].keys()
    assert document["security"] == [{name: []} for name in document["components"]["securitySchemes"]]
    for components in document["components"].values():
        assert [name for name in components if not COMPONENT_NAME.fullmatch(name)] == []
    for path, item in document["paths"].items():
        assert path.startswith("/")
        assert item.keys() <= METHODS
    for schema in schemas(document):
        kinds = schema.get("type", [])
        assert set([kinds] if isinstance(kinds, str) else kinds) <= TYPES, schema


async def test_every_operation_has_the_shape_of_openapi_3_1(document: Document) -> None:
    for path, method, operation in operations(document):
        parameters = [
            resolved(document, each["$ref"]) if "$ref" in each else each for each in operation.get("parameters", [])
        ]
        places = [(each["in"], each["name"]) for each in parameters]
        assert len(set(places)) == len(places), (path, method)
        assert {place for place, _ in places} <= {"query", "header", "path"}
        assert {name for place, name in places if place == "path"} == set(re.findall(r"\{(\w+)\}", path))
        assert all(each["required"] for each in parameters if each["in"] == "path")
        assert all("schema" in each for each in parameters)
        assert all(re.fullmatch(r"[1-5]\d\d|default", status) for status in operation["responses"])
        assert any(status.startswith("2") for status in operation["responses"]), (path, method)
        assert all("description" in each for each in operation["responses"].values())
        assert "requestBody" not in operation or operation["requestBody"]["content"]


async def test_every_reference_of_the_document_resolves(document: Document) -> None:
    references = [node["$ref"] for node in nodes(document) if "$ref" in node]
    assert len(references) > 100
    assert [each for each in references if not isinstance(resolved(document, each), dict)] == []


async def test_asking_for_the_document_twice_gives_the_same(http: httpx.AsyncClient, document: Document) -> None:
    assert (await http.get("/openapi.json")).json() == document


@pytest.mark.parametrize(
    ("name", "struct"), [("MessageIn", MessageIn), ("AcceptedMessageOut", MessageOut), ("EventIn", EventIn)]
)
async def test_the_hot_calls_are_described_as_they_are_decoded(
    document: Document, name: str, struct: type[msgspec.Struct]
) -> None:
    described = document["components"]["schemas"][name]
    fields = msgspec.structs.fields(struct)
    assert set(described["properties"]) == {field.encode_name for field in fields}
    assert set(described["required"]) == {field.encode_name for field in fields if field.required}
    assert described.get("additionalProperties", True) is not struct.__struct_config__.forbid_unknown_fields


async def test_the_hot_calls_name_their_bodies_and_answers(document: Document) -> None:
    message = document["paths"][MESSAGE_PATH]["post"]
    assert message["requestBody"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/MessageIn"}}
    }
    event = document["paths"][EVENT_PATH]["post"]
    assert set(event["requestBody"]["content"]) == {"application/json", "application/x-ndjson"}
    one, several = event["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert one == several["items"] == {"$ref": "#/components/schemas/EventIn"}
    assert (several["minItems"], several["maxItems"]) == (1, MOST_EVENTS)
    for operation in (message, event):
        assert {"202", "409", "413", "422", "default"} <= operation["responses"].keys()
    # Their neighbours of the same path are still there.
    assert "get" in document["paths"][MESSAGE_PATH]
    assert "get" in document["paths"][EVENT_PATH]


async def test_the_hot_calls_take_no_name_from_a_schema_of_the_framework(world: World) -> None:
    framework = build_app(world.services).openapi_schema.to_schema()["components"]["schemas"]
    assert framework.keys() & hot_calls.schemas().keys() == set()


async def test_every_post_takes_an_idempotency_key_of_the_documented_length(
    document: Document, http: httpx.AsyncClient
) -> None:
    reference = {"$ref": "#/components/parameters/IdempotencyKey"}
    for _, method, operation in operations(document):
        assert (reference in operation.get("parameters", [])) == (method == "post")
    longest = document["components"]["parameters"]["IdempotencyKey"]["schema"]["maxLength"]
    fitting = await http.post("/app", json={"name": "x"}, headers={"idempotency-key": "k" * longest})
    too_long = await http.post("/app", json={"name": "x"}, headers={"idempotency-key": "k" * (longest + 1)})
    assert (fitting.status_code, too_long.status_code) == (201, 422)


def hot_client(world: World) -> httpx.AsyncClient:
    """Open a client of the two hot handlers alone."""
    intake = Intake(store=world.store, to_deliver=Hints(), to_decide=Hints(), telemetry=world.telemetry)
    shared: Any = {"intake": intake, "directory": world.directory, "clock": world.clock}
    events = Events(authenticate=lambda _: world.workspace, **shared)
    messages = Messages(authenticate=lambda _: world.workspace, routing=Routing(world.directory), **shared)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/event":
            await events.handle(scope, receive, send)
        else:
            await messages.handle(scope["path"].split("/")[2], scope, receive, send)

    transport: Any = httpx.ASGITransport(app=application)
    return httpx.AsyncClient(transport=transport, base_url="http://hot.test")


async def test_the_hot_calls_answer_as_they_are_described(
    document: Document, http: httpx.AsyncClient, world: World
) -> None:
    app = (await http.post("/app", json={"name": "x"})).json()["id"]
    async with hot_client(world) as hot:
        message = await hot.post(f"/app/{app}/msg", json={"eventType": "a.b", "payload": {}})
        one = await hot.post("/event", json={"type": "a.b", "id": "1", "data": 1})
        several = await hot.post(
            "/event", json=[{"type": "a.b"}, {"type": "a.b", "id": "1", "data": 1}, {"type": "a.b", "id": "1"}]
        )
    rows = several.json()["data"]
    statuses = document["components"]["schemas"]["AcceptedEventRowOut"]["properties"]["status"]["enum"]
    assert {row["status"] for row in rows} == set(statuses)
    answers = [("AcceptedMessageOut", message.json()), ("AcceptedEventOut", one.json())]
    answers += [("AcceptedEventsOut", several.json()), *(("AcceptedEventRowOut", row) for row in rows)]
    for name, answered in answers:
        described = document["components"]["schemas"][name]
        assert set(described["required"]) <= answered.keys() <= set(described["properties"]), name
