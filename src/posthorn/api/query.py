"""Reading a request's query string into a struct, and documenting that struct."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema
from msgspec import Meta, Struct

from posthorn.api.services import ApiRequest
from posthorn.errors import Invalid
from posthorn.manage.registrar import PageOf
from posthorn.receive.wire import validation_problem

Q = TypeVar("Q", bound="Query")

DEFAULT_LIMIT = 50
MOST_ROWS = 250
_MOST_PARAMETERS = 100


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query string. Lists are joined by commas, or the parameter comes several times, with or without `[]`."""


class PageQuery(Query, frozen=True, kw_only=True):
    """A page of a list. An iterator with a leading hyphen goes back to the page before it."""

    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = DEFAULT_LIMIT
    iterator: str | None = None

    @property
    def after_id(self) -> str | None:
        """The id that the page starts after, or ends before."""
        return (self.iterator or "").removeprefix("-") or None

    @property
    def is_backwards(self) -> bool:
        """Whether the page before the iterator is asked for."""
        return self.iterator is not None and self.iterator.startswith("-")


class OrderedQuery(PageQuery, frozen=True, kw_only=True):
    """A page of a list whose order can be chosen."""

    order: Literal["ascending", "descending"] | None = None

    def page(self, *, descending: bool = False) -> PageOf:
        """Return the page; `descending` is the order of a caller who chose none."""
        return PageOf(
            after=self.after_id,
            backwards=self.is_backwards,
            descending=descending if self.order is None else self.order == "descending",
            limit=self.limit,
        )


def read_query(request: ApiRequest, query_type: type[Q]) -> Q:
    """Decode the query string; raises Invalid at ("query", name)."""
    raw = request.scope["query_string"].decode("latin-1")
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Invalid.at("query", msg=f"a query has at most {_MOST_PARAMETERS} parameters") from None
    fields = {field.name: field for field in msgspec.structs.fields(query_type)}
    values: dict[str, Any] = {}
    for written, value in pairs:
        name = written.removesuffix("[]")
        if name in fields and fields[name].default == ():
            values.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in values:
            raise Invalid.at("query", name, msg="this parameter was given twice")
        else:
            values[name] = value
    return _converted(values, query_type)


def _converted(values: dict[str, Any], query_type: type[Q]) -> Q:
    for name in _TIMES & values.keys():
        # A "+" in a query means a space; in a time it can only have been the offset's sign.
        values[name] = values[name].replace(" ", "+")
    try:
        return msgspec.convert(values, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise validation_problem(error, "query") from None


_TIMES = frozenset({"since", "until", "before", "after"})


def refuse_tag(tag: str | None) -> None:
    """Refuse to filter by a tag, which messages of Posthorn do not have."""
    if tag is not None:
        raise Invalid.at("query", "tag", msg="messages have no tags here; use channels", type="unsupported")


def in_ms(moment: datetime | None) -> int | None:
    """Return an instant in ms; a time without an offset is UTC."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def reads(query_type: type[Query]) -> type[Operation]:
    """Make an `operation_class` that documents the parameters of a query struct."""
    schema, components = msgspec.json.schema_components([query_type], ref_template="{name}")
    properties = components[schema[0]["$ref"]]["properties"]

    @dataclass
    class Documented(Operation):
        def __post_init__(self) -> None:
            self.parameters = [
                *(self.parameters or []),
                *(Parameter(name=name, param_in="query", schema=_schema(each)) for name, each in properties.items()),
            ]

    return Documented


def _schema(described: dict[str, Any]) -> Schema:
    kinds = [each for each in described.get("anyOf", [described]) if each.get("type") != "null"]
    kind = kinds[0]
    return Schema(
        type=OpenAPIType(kind.get("type", "string")),
        format=kind.get("format"),
        enum=kind.get("enum"),
        minimum=kind.get("minimum"),
        maximum=kind.get("maximum"),
        items=Schema(type=OpenAPIType.STRING) if kind.get("type") == "array" else None,
        default=described.get("default"),
    )
