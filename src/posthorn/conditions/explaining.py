"""Why conditions did not match, as data and as one sentence."""

import json
from itertools import islice
from typing import Any, Final, assert_never

import msgspec

from posthorn.conditions.comparing import is_ordered_with
from posthorn.conditions.fields import ABSENT, Facts
from posthorn.conditions.nodes import Branch, Inversion, Leaf, Node
from posthorn.conditions.tree import Comparison, Operator

MAX_SHOWN_CHARACTERS: Final = 200
_MAX_CAUSES: Final = 5
_MORE: Final = "…"


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether facts matched, and if not, the first condition that failed.

    `path` leads to it from the root: `("all", 0, "any", 2)`. For a comparison, `field` and `operator` are its own,
    `expected` and `actual` are JSON text of up to 200 characters (`…` at the end of a shortened one), and `actual`
    is None when the field is `absent`. For an `any`, `causes` explain its first five alternatives.
    """

    matched: bool
    message: str
    path: tuple[str | int, ...] = ()
    field: str | None = None
    operator: Operator | None = None
    expected: str | None = None
    actual: str | None = None
    absent: bool = False
    causes: "tuple[Explanation, ...]" = ()


def matched() -> Explanation:
    """Return the explanation of a match."""
    return Explanation(matched=True, message="Every condition holds.")


def why_not(node: Node, facts: Facts) -> Explanation:
    """Explain a node that does not hold for these facts."""
    match node:
        case Leaf():
            return _explain_leaf(node, facts)
        case Branch(is_any=False):
            return why_not(next(child for child in node.children if not child.test(facts)), facts)
        case Branch():
            return _explain_any(node, facts)
        case Inversion():
            return _explain_inversion(node, facts)
    assert_never(node)


def _explain_any(node: Branch, facts: Facts) -> Explanation:
    causes = tuple(why_not(child, facts) for child in islice(node.children, _MAX_CAUSES))
    count = len(node.children)
    lead = "The only alternative does not hold" if count == 1 else f"None of the {count} alternatives holds"
    return Explanation(matched=False, path=node.path, message=f"{lead}; the first: {causes[0].message}", causes=causes)


def _explain_inversion(node: Inversion, facts: Facts) -> Explanation:
    if not isinstance(node.child, Leaf):
        return Explanation(matched=False, path=node.path, message="The conditions that must not hold do hold.")
    actual = node.child.read(facts)
    comparison = node.child.comparison
    return _of_leaf(comparison, node.path, actual, f"{_statement(comparison, actual)}, and this must not hold.")


def _explain_leaf(leaf: Leaf, facts: Facts) -> Explanation:
    actual = leaf.read(facts)
    return _of_leaf(leaf.comparison, leaf.path, actual, _refusal(leaf.comparison, actual))


def _of_leaf(comparison: Comparison, path: tuple[str | int, ...], actual: object, message: str) -> Explanation:
    absent = actual is ABSENT
    return Explanation(
        matched=False,
        message=message,
        path=path,
        field=comparison.field,
        operator=comparison.operator,
        expected=shown(comparison.value),
        actual=None if absent else shown(actual),
        absent=absent,
    )


_VERBS: Final[dict[Operator, tuple[str, str]]] = {
    Operator.EQ: ("equals", "does not equal"),
    Operator.NE: ("does not equal", "equals"),
    Operator.GT: ("is greater than", "is not greater than"),
    Operator.GTE: ("is at least", "is not at least"),
    Operator.LT: ("is less than", "is not less than"),
    Operator.LTE: ("is at most", "is not at most"),
    Operator.IN: ("is one of", "is none of"),
    Operator.NOT_IN: ("is none of", "is one of"),
    Operator.CONTAINS: ("contains", "does not contain"),
    Operator.STARTS_WITH: ("starts with", "does not start with"),
    Operator.ENDS_WITH: ("ends with", "does not end with"),
}
_ORDERS: Final = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_AFFIXES: Final = frozenset({Operator.STARTS_WITH, Operator.ENDS_WITH})


def _statement(comparison: Comparison, actual: object) -> str:
    """Say what holds."""
    field, operator = comparison.field, comparison.operator
    if operator is Operator.EXISTS:
        return f"{field} is {'present' if comparison.value else 'absent'}"
    return f"{field} is {shown(actual)}, which {_VERBS[operator][0]} {shown(comparison.value)}"


def _refusal(comparison: Comparison, actual: object) -> str:
    """Say what does not hold, and why."""
    field, operator, expected = comparison.field, comparison.operator, comparison.value
    if operator is Operator.EXISTS:
        return f"{field} is {'absent but must be present' if expected else 'present but must be absent'}."
    if actual is ABSENT:
        return f"{field} is absent, and an absent field matches only 'exists: false'."
    misfit = _misfit(operator, actual, expected)
    if misfit:
        return f"{field} is {_kind(actual)} ({shown(actual)}), {misfit}."
    return f"{field} is {shown(actual)}, which {_VERBS[operator][1]} {shown(expected)}."


def _misfit(operator: Operator, actual: object, expected: object) -> str | None:
    """Say why an operator does not apply to a value of this type, if that is the reason."""
    if operator in _ORDERS and not is_ordered_with(actual, expected):
        return f"which has no order with {_kind(expected)} ({shown(expected)})"
    if operator in _AFFIXES and not isinstance(actual, str):
        return f"and '{operator}' applies to a text only"
    if operator is Operator.CONTAINS and not isinstance(actual, (str, list)):
        return "and 'contains' applies to a text or an array only"
    if operator is Operator.CONTAINS and isinstance(actual, str) and not isinstance(expected, str):
        return f"which cannot contain {_kind(expected)} ({shown(expected)})"
    return None


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "an array"
    return "an object"


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def shown(value: object) -> str:
    """Return a value as JSON text of at most 200 characters, without encoding much more than is shown."""
    if isinstance(value, str):
        return _shortened(_encoder.encode(value[: MAX_SHOWN_CHARACTERS + 1]))
    if not isinstance(value, (list, dict)):
        return _shortened(_encoder.encode(value))
    text = ""
    for piece in _encoder.iterencode(value):
        text += piece
        if len(text) > MAX_SHOWN_CHARACTERS:
            break
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 1] + _MORE
