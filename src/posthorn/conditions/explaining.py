"""Why conditions did not match, as data and as one sentence."""

from collections.abc import Callable
from itertools import islice
from typing import Final, assert_never

import msgspec

from posthorn.conditions.comparing import is_ordered_with
from posthorn.conditions.fields import ABSENT, Facts
from posthorn.conditions.instants import instant_ms
from posthorn.conditions.nodes import Account, Branch, Inversion, Leaf, Node, Path, RuleNode
from posthorn.conditions.patterns import MAX_TEXT_CHARACTERS
from posthorn.conditions.timing import now_of
from posthorn.conditions.tree import SPAN_OPERATORS, TIME_OPERATORS, Comparison, Operator
from posthorn.conditions.wording import kind_of, shown

_MAX_CAUSES: Final = 5


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether facts matched, and if not, the first condition that failed.

    `path` leads to it from the root: `("all", 0, "any", 2)`. For a comparison, `field` and `operator` are its own,
    `expected` and `actual` are JSON text of up to 200 characters (`…` at the end of a shortened one), and `actual`
    is None when the field is `absent`. The other rules name the fact that they looked at in `field`. For an `any`,
    `causes` explain its first five alternatives.
    """

    matched: bool
    message: str
    path: Path = ()
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
            actual = node.read(facts)
            return _of_leaf(node, actual, _refusal(node.comparison, actual, facts))
        case RuleNode():
            account = node.account(facts)
            return _of_rule(node, account, f"{_capital(account.clause)}.")
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
    match node.child:
        case Leaf() as leaf:
            actual = leaf.read(facts)
            message = f"{_statement(leaf.comparison, actual)}, and this must not hold."
            return msgspec.structs.replace(_of_leaf(leaf, actual, message), path=node.path)
        case RuleNode() as rule:
            account = rule.account(facts)
            message = f"{_capital(account.clause)}, and this must not hold."
            return msgspec.structs.replace(_of_rule(rule, account, message), path=node.path)
    return Explanation(matched=False, path=node.path, message="The conditions that must not hold do hold.")


def _of_leaf(leaf: Leaf, actual: object, message: str) -> Explanation:
    comparison, absent = leaf.comparison, actual is ABSENT
    return Explanation(
        matched=False,
        message=message,
        path=leaf.path,
        field=comparison.field,
        operator=comparison.operator,
        expected=None if comparison.value is msgspec.UNSET else shown(comparison.value),
        actual=None if absent else shown(actual),
        absent=absent,
    )


def _of_rule(node: RuleNode, account: Account, message: str) -> Explanation:
    return Explanation(
        matched=False,
        message=message,
        path=node.path,
        field=account.field,
        operator=account.operator,
        expected=None if account.expected is ABSENT else shown(account.expected),
        actual=None if account.actual is ABSENT else shown(account.actual),
        absent=account.absent,
    )


def _capital(clause: str) -> str:
    """Begin a sentence; a clause that begins with a name of the user's keeps it as it is."""
    first, _, _ = clause.partition(" ")
    return clause[0].upper() + clause[1:] if first in {"the", "it"} else clause


_VERBS: Final[dict[Operator, tuple[str, str]]] = {
    Operator.EQ: ("equals", "does not equal"),
    Operator.NE: ("does not equal", "equals"),
    Operator.EQ_IGNORE_CASE: ("equals, in any case,", "does not equal, in any case,"),
    Operator.GT: ("is greater than", "is not greater than"),
    Operator.GTE: ("is at least", "is not at least"),
    Operator.LT: ("is less than", "is not less than"),
    Operator.LTE: ("is at most", "is not at most"),
    Operator.BETWEEN: ("is between", "is not between"),
    Operator.IN: ("is one of", "is none of"),
    Operator.NOT_IN: ("is none of", "is one of"),
    Operator.CONTAINS: ("contains", "does not contain"),
    Operator.NOT_CONTAINS: ("does not contain", "contains"),
    Operator.CONTAINS_ANY: ("contains one of", "contains none of"),
    Operator.CONTAINS_ALL: ("contains all of", "does not contain all of"),
    Operator.CONTAINS_NONE: ("contains none of", "contains one of"),
    Operator.STARTS_WITH: ("starts with", "does not start with"),
    Operator.ENDS_WITH: ("ends with", "does not end with"),
    Operator.MATCHES: ("matches", "does not match"),
    Operator.SIZE: ("has the size", "does not have the size"),
    Operator.BEFORE: ("is before", "is not before"),
    Operator.AFTER: ("is after", "is not after"),
    Operator.WITHIN_LAST: ("is within the last", "is not within the last"),
    Operator.WITHIN_NEXT: ("is within the next", "is not within the next"),
    Operator.OLDER_THAN: ("is older than", "is not older than"),
}
_PRESENCE: Final[dict[Operator, Callable[[object], bool]]] = {
    Operator.EXISTS: bool,
    Operator.IS_SET: lambda _: True,
    Operator.IS_NOT_SET: lambda _: False,
}
_ORDERS: Final = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_TEXT_ONLY: Final = frozenset({Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.MATCHES, Operator.EQ_IGNORE_CASE})
_CONTAINS: Final = frozenset(
    {
        Operator.CONTAINS,
        Operator.NOT_CONTAINS,
        Operator.CONTAINS_ANY,
        Operator.CONTAINS_ALL,
        Operator.CONTAINS_NONE,
    }
)


def _statement(comparison: Comparison, actual: object) -> str:
    """Say what holds."""
    field, operator = comparison.field, comparison.operator
    if operator in _PRESENCE:
        return f"{field} is {'present' if _PRESENCE[operator](comparison.value) else 'absent'}"
    return f"{field} is {shown(actual)}, which {_VERBS[operator][0]} {_expected(comparison)}"


def _refusal(comparison: Comparison, actual: object, facts: Facts) -> str:
    """Say what does not hold, and why."""
    field, operator, expected = comparison.field, comparison.operator, comparison.value
    if operator in _PRESENCE:
        wanted = _PRESENCE[operator](expected)
        return f"{field} is {'absent but must be present' if wanted else 'present but must be absent'}."
    if actual is ABSENT:
        return f"{field} is absent, and an absent field matches only 'exists: false'."
    if operator in TIME_OPERATORS:
        return f"{field} is {_time_refusal(comparison, actual, facts)}."
    misfit = _misfit(operator, actual, expected)
    if misfit:
        return f"{field} is {kind_of(actual)} ({shown(actual)}), {misfit}."
    return f"{field} is {shown(actual)}, which {_VERBS[operator][1]} {_expected(comparison)}."


def _expected(comparison: Comparison) -> str:
    value = comparison.value
    if comparison.operator is Operator.BETWEEN:
        return f"{shown(value[0])} and {shown(value[1])}"
    if comparison.operator in SPAN_OPERATORS:
        return " ".join(f"{amount:,} {unit[:-1] if amount == 1 else unit}" for unit, amount in value.items())
    return shown(value)


def _time_refusal(comparison: Comparison, actual: object, facts: Facts) -> str:
    if instant_ms(actual) is None:
        return f"{kind_of(actual)} ({shown(actual)}), which is no time"
    if comparison.operator in SPAN_OPERATORS and now_of(facts) is None:
        return f"{shown(actual)}, and it is not known what time it is, as 'now' is absent"
    return f"{shown(actual)}, which {_VERBS[comparison.operator][1]} {_expected(comparison)}"


def _misfit(operator: Operator, actual: object, expected: object) -> str | None:
    """Say why an operator does not apply to a value of this type, if that is the reason."""
    bound = expected[0] if operator is Operator.BETWEEN and isinstance(expected, list) else expected
    if (operator in _ORDERS or operator is Operator.BETWEEN) and not is_ordered_with(actual, bound):
        return f"which has no order with {kind_of(bound)} ({shown(bound)})"
    if operator in _TEXT_ONLY and not isinstance(actual, str):
        return f"and '{operator}' applies to a text only"
    if operator is Operator.MATCHES and isinstance(actual, str) and len(actual) > MAX_TEXT_CHARACTERS:
        return f"and 'matches' looks at texts of at most {MAX_TEXT_CHARACTERS:,} characters"
    if operator is Operator.SIZE and not isinstance(actual, (str, list, dict)):
        return "which has no size"
    return _contains_misfit(operator, actual, expected) if operator in _CONTAINS else None


def _contains_misfit(operator: Operator, actual: object, expected: object) -> str | None:
    if not isinstance(actual, (str, list)):
        return f"and '{operator}' applies to a text or an array only"
    if operator is Operator.CONTAINS and isinstance(actual, str) and not isinstance(expected, str):
        return f"which cannot contain {kind_of(expected)} ({shown(expected)})"
    return None
