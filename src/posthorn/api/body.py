"""Reading a request's body: strictly typed JSON straight from its bytes, so that nothing is lost or coerced."""

from collections.abc import Generator
from typing import Any, ClassVar, NoReturn

import msgspec
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from posthorn.errors import Invalid
from posthorn.receive.wire import decode

BODY_LIMIT_BYTES = 2 * 1024 * 1024


def read_body(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """Decode a body; raises Invalid with the place of what is wrong."""
    try:
        return decode(decoder, body)
    except RecursionError:
        raise Invalid.at("body", msg="the JSON is nested too deeply", type="json_invalid") from None


class ExactJson(AbstractDTO[Any]):
    """Makes Litestar hand a handler's `data` over as `read_body` decodes it, and document its type.

    Litestar's own way decodes to dictionaries first and then coerces: "1" would pass as a number, and the exact
    bytes of `msgspec.Raw` would be gone.
    """

    _decoders: ClassVar[dict[str, msgspec.json.Decoder[Any]]] = {}

    @classmethod
    def create_for_field_definition(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        backend_cls: Any = None,  # noqa: ARG003 - the library's signature
    ) -> None:
        """Make the decoder for a handler's `data`."""
        cls._decoders[handler_id] = msgspec.json.Decoder(field_definition.annotation)

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003 - the library's signature
        schema_creator: Any,
    ) -> Reference | Schema:
        """Document the type as the framework would without a DTO."""
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    def decode_bytes(self, value: bytes) -> Any:
        """Decode the body."""
        handler = self.asgi_connection.route_handler
        return read_body(self._decoders[handler.handler_id], value)

    def decode_builtins(self, value: dict[str, Any]) -> NoReturn:  # noqa: ARG002 - the library's signature
        """Refuse form data, which no route takes."""
        raise Invalid.at("body", msg="send JSON", type="json_invalid")

    @classmethod
    def generate_field_definitions(
        cls,
        model_type: type[Any],  # noqa: ARG003 - the library's signature
    ) -> Generator[DTOFieldDefinition, None, None]:
        """Yield nothing: no model is generated."""
        yield from ()

    @classmethod
    def detect_nested_field(
        cls,
        field_definition: FieldDefinition,  # noqa: ARG003 - the library's signature
    ) -> bool:
        """Say that no field is nested, because no model is generated."""
        return False
