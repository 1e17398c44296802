"""The shapes of what people may set: annotated types, shared by all `…Fields` structs.

A `…Fields` struct carries what one call set. A field that was not given is UNSET: creation and replacement then
take the default, a change keeps what is stored. None clears a field, which is the same as its default.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from posthorn.engine.resources import Resource
from posthorn.errors import Invalid, NotFound

# `(?![\s\S])` is the end of the text; a "$" would allow a newline after it.
_WORD = r"^[a-zA-Z0-9\-_.]+(?![\s\S])"

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Uid: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256, pattern=_WORD)]
EventTypeName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256, pattern=_WORD)]
Channel: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=_WORD)]
Channels: TypeAlias = Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=10)]
EventTypeNames: TypeAlias = Annotated[tuple[EventTypeName, ...], Meta(min_length=1, max_length=1024)]
Description: TypeAlias = Annotated[str, Meta(max_length=4096)]
ThrottleRate: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]
Metadata: TypeAlias = dict[str, str]
# Each entry is the wait in seconds before a retry; the first attempt is made at once and has no entry.
RetrySchedule: TypeAlias = Annotated[
    tuple[Annotated[int, Meta(ge=0, le=7 * 86_400)], ...], Meta(min_length=1, max_length=50)
]
DeadlineSeconds: TypeAlias = Annotated[float, Meta(ge=0.1, le=60)]

_METADATA_MOST_BYTES = 4096


class Fields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a call may set of a resource."""


def given(fields: Struct) -> dict[str, Any]:
    """Return what a call set, by field name."""
    return {name: value for name in fields.__struct_fields__ if (value := getattr(fields, name)) is not UNSET}


def cleared(resource_type: type[Resource], values: dict[str, Any]) -> dict[str, Any]:
    """Replace each None by the default of the resource's field, because None means "clear"."""
    defaults = settable_defaults(resource_type)
    return {name: defaults.get(name) if value is None else value for name, value in values.items()}


def settable_defaults(resource_type: type[Resource]) -> dict[str, Any]:
    """Return the defaults of a resource's own fields, without those that all resources share."""
    shared = set(Resource.__struct_fields__)
    return {
        field.name: field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        for field in msgspec.structs.fields(resource_type)
        if field.name not in shared and not field.required
    }


def required(values: dict[str, Any], *names: str) -> None:
    """Refuse values in which one of these is missing. Raises Invalid naming the first."""
    for name in names:
        if values.get(name) is None:
            raise Invalid.at(camel(name), msg="this field is required", type="missing")


def camel(name: str) -> str:
    """Return the name that callers know a field by."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def check_uid(uid: str | None, prefix: str) -> None:
    """Refuse a uid that could be taken for an id of ours. Raises Invalid at ("uid",)."""
    if uid is not None and uid.startswith(f"{prefix}_"):
        raise Invalid.at("uid", msg=f"a uid cannot start with {prefix}_, which is how our own ids start")


def check_metadata(metadata: Metadata | None) -> None:
    """Refuse metadata over 4096 bytes of JSON. Raises Invalid at ("metadata",)."""
    if metadata and len(msgspec.json.encode(metadata)) > _METADATA_MOST_BYTES:
        raise Invalid.at("metadata", msg=f"metadata may take up {_METADATA_MOST_BYTES} bytes as JSON")


def settled_uid(identifier: str, uid: str | UnsetType | None, prefix: str) -> str:
    """Return the uid of a resource that is created by replacing `identifier`, which nothing has yet.

    Raises NotFound when `identifier` is an id of ours (ids are drawn, never chosen), Invalid at ("uid",) when the
    caller gives two different uids: the next call would not find what this one made.
    """
    if identifier.startswith(f"{prefix}_"):
        raise NotFound("there is nothing with this id; to create it, use a uid of your own in its place")
    if isinstance(uid, str) and uid != identifier:
        raise Invalid.at("uid", msg="this differs from the uid in the address; leave one of them out")
    return checked_uid(identifier)


def checked_uid(text: str) -> str:
    """Check a uid that came from an address instead of a `…Fields` struct. Raises Invalid at ("uid",)."""
    try:
        return msgspec.convert(text, Uid)
    except msgspec.ValidationError:
        raise Invalid.at(
            "uid", msg="a uid has 1 to 256 letters, digits, hyphens, underscores and dots, nothing else"
        ) from None


F = TypeVar("F", bound=Fields)


def narrowed(wider: Struct, fields_type: type[F], *, older: Mapping[str, str]) -> F:
    """Take those values of a wider struct that `fields_type` has.

    `older` maps names of former versions to present ones. Raises Invalid when both are given and differ.
    """
    values = given(wider)
    for old, new in older.items():
        if old not in values:
            continue
        value = values.pop(old)
        if values.setdefault(new, value) != value:
            raise Invalid.at(camel(old), msg=f"this is the older name of {camel(new)} and differs from it")
    return fields_type(**{name: values[name] for name in fields_type.__struct_fields__ if name in values})
