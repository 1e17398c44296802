"""Conditions as data. A tree of them encodes to the JSON that it was decoded from."""

from enum import StrEnum
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 32
MAX_NODES: Final = 1_000
MAX_LISTED_VALUES: Final = 1_000


class Operator(StrEnum):
    """How a field is compared with a value.

    There is no operator for regular expressions: the standard library has no engine with linear time, and a
    condition runs for every event.
    """

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    EXISTS = "exists"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`{"field": "event.data.total", "operator": "gt", "value": 100}`: the leaf of a tree.

    Types are strict: no value is converted, `true` is no number, and numbers compare exactly. An absent field
    matches `exists: false` and nothing else, not even `ne` and `not_in`; a null is present.
    """

    field: str
    operator: Operator
    value: Any


class AllOf(msgspec.Struct, frozen=True, kw_only=True):
    """`{"all": […]}`: every one holds."""

    conditions: "tuple[Condition, ...]" = msgspec.field(name="all")


class AnyOf(msgspec.Struct, frozen=True, kw_only=True):
    """`{"any": […]}`: at least one holds."""

    conditions: "tuple[Condition, ...]" = msgspec.field(name="any")


class Not(msgspec.Struct, frozen=True, kw_only=True):
    """`{"not": {…}}`: the inner condition does not hold.

    It turns the inner result around and knows nothing else: `not` around a comparison of an absent field holds,
    where `ne` would not.
    """

    condition: "Condition" = msgspec.field(name="not")


Condition = AllOf | AnyOf | Not | Comparison
