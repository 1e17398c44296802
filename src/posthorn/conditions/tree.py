"""Conditions as data. A tree of them encodes to the JSON that it was decoded from."""

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET

MAX_DEPTH: Final = 32
MAX_NODES: Final = 1_000
MAX_LISTED_VALUES: Final = 1_000
MAX_ITEMS: Final = 1_000
MAX_TIMES: Final = 1_000


class Operator(StrEnum):
    """How a field is compared with a value.

    There is no operator for regular expressions: the standard library has no engine with linear time, and a
    condition runs for every event.
    """

    EQ = "eq"
    NE = "ne"
    EQ_IGNORE_CASE = "eq_ignore_case"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    CONTAINS_ANY = "contains_any"
    CONTAINS_ALL = "contains_all"
    CONTAINS_NONE = "contains_none"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    MATCHES = "matches"
    SIZE = "size"
    EXISTS = "exists"
    IS_SET = "is_set"
    IS_NOT_SET = "is_not_set"
    BEFORE = "before"
    AFTER = "after"
    WITHIN_LAST = "within_last"
    WITHIN_NEXT = "within_next"
    OLDER_THAN = "older_than"


TIME_OPERATORS: Final = frozenset(
    {Operator.BEFORE, Operator.AFTER, Operator.WITHIN_LAST, Operator.WITHIN_NEXT, Operator.OLDER_THAN}
)
SPAN_OPERATORS: Final = TIME_OPERATORS - {Operator.BEFORE, Operator.AFTER}
NOW: Final = "now"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`{"field": "event.data.total", "operator": "gt", "value": 100}`: the leaf of a tree.

    Types are strict: no value is converted, `true` is no number, and numbers compare exactly. An absent field
    matches `exists: false` and nothing else, not even `ne` and `not_in`; a null is present. `is_set` and
    `is_not_set` are `exists` true and false, without a value.
    """

    field: str
    operator: Operator
    value: Any = UNSET

    @property
    def wants_absence(self) -> bool:
        """Whether it holds for an absent field, and for nothing else."""
        if self.operator is Operator.EXISTS:
            return not self.value
        return self.operator is Operator.IS_NOT_SET


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


class Quantifier(StrEnum):
    """How many items of an array must match."""

    ANY = "any"
    ALL = "all"
    NONE = "none"


class ItemsRule(msgspec.Struct, frozen=True, kw_only=True):
    """An array, and the conditions that its items (`item` in their fields) must meet."""

    field: str
    match: Quantifier
    where: "Condition"


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """`{"items": {"field": "event.data.items", "match": "any", "where": {…}}}`: over the items of an array."""

    items: ItemsRule


class CountOperator(StrEnum):
    """How a counter is compared. `every` 5 holds for the 5th, the 10th, the 15th event and so on."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EVERY = "every"


class CountRule(msgspec.Struct, frozen=True, kw_only=True):
    """How many events of a type the profile has had, this one included."""

    event: str
    op: CountOperator
    value: int


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """`{"count": {"event": "flight_booked", "op": "eq", "value": 5}}`: over an exact counter."""

    count: CountRule


class PerformedRule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How often the profile had a matching event. Exactly one of `at_least`, `at_most`, `exactly` is set."""

    event: str
    where: "Condition | None" = None
    at_least: int | None = None
    at_most: int | None = None
    exactly: int | None = None
    within_seconds: int | None = None


class Performed(msgspec.Struct, frozen=True, kw_only=True):
    """`{"performed": {"event": "login", "where": {…}, "atLeast": 3, "withinSeconds": 604800}}`: over a window."""

    performed: PerformedRule


class Membership(StrEnum):
    """Whether a profile must be in a segment."""

    IN = "in"
    NOT_IN = "not_in"


class SegmentRule(msgspec.Struct, frozen=True, kw_only=True):
    """A segment by its uid."""

    membership: Membership = msgspec.field(name="is")
    segment: str


class InSegment(msgspec.Struct, frozen=True, kw_only=True):
    """`{"segment": {"is": "in", "segment": "vip"}}`."""

    segment: SegmentRule


class SubscriptionState(StrEnum):
    """What a person said about a channel; `unknown` when the profile says nothing about it."""

    SUBSCRIBED = "subscribed"
    OPTED_IN = "opted_in"
    UNSUBSCRIBED = "unsubscribed"
    UNKNOWN = "unknown"


class SubscriptionRule(msgspec.Struct, frozen=True, kw_only=True):
    """A channel and the states that are wanted."""

    channel: str
    states: tuple[SubscriptionState, ...] = msgspec.field(name="is")


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """`{"subscription": {"channel": "email", "is": ["subscribed", "opted_in"]}}`."""

    subscription: SubscriptionRule


class Weekday(StrEnum):
    """A day of the week; in `local.weekday` Monday is 1 and Sunday 7 (ISO 8601)."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class TimeRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the person's day or week: from `start` up to and without `end` ("HH:MM"), on these weekdays.

    When `end` is not after `start` the part runs over midnight and belongs to the weekday on which it began.
    """

    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)
    weekdays: tuple[Weekday, ...] | None = None


class LocalTime(msgspec.Struct, frozen=True, kw_only=True):
    """`{"time": {"from": "09:00", "to": "17:00", "weekdays": ["monday"]}}`: by the person's own clock."""

    time: TimeRule


class Cel(msgspec.Struct, frozen=True, kw_only=True):
    """`{"cel": "event.data.total > 100"}`: an expression in the Common Expression Language."""

    cel: str


Rule = Items | Count | Performed | InSegment | Subscription | LocalTime | Cel
Condition = AllOf | AnyOf | Not | Comparison | Rule
