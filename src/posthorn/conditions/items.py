"""Rules over the items of an array: any, all or none of them meet conditions."""

from collections.abc import Callable
from typing import Any

from posthorn.conditions.fields import ABSENT, ITEM, Facts, Reader
from posthorn.conditions.nodes import Account, Change, Made, Test
from posthorn.conditions.tree import MAX_ITEMS, Items, Quantifier
from posthorn.conditions.wording import kind_of, shown


def make_items(condition: Items, read: Reader, holds: Test, change: Change) -> Made:
    """Compile a rule over items; `holds` and `change` are those of its conditions.

    A field that is no array, or that has more than 1,000 items, does not match. Of no items `all` and `none` hold.
    """
    match = condition.items.match

    def test(facts: Facts) -> bool:
        items = read(facts)
        if type(items) is not list or len(items) > MAX_ITEMS:
            return False
        found = any(holds({**facts, ITEM: item}) is not (match is Quantifier.ALL) for item in items)
        return found is (match is Quantifier.ANY)

    def account(facts: Facts) -> Account:
        return _account(condition, read(facts), lambda item: holds({**facts, ITEM: item}))

    def changed(facts: Facts, now_ms: int) -> int | None:
        items = read(facts)
        if type(items) is not list or len(items) > MAX_ITEMS:
            return None
        instants = (change({**facts, ITEM: item}, now_ms) for item in items)
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)

    return Made(test=test, account=account, change=changed)


def _account(condition: Items, actual: Any, holds: Callable[[Any], bool]) -> Account:
    rule = condition.items
    clause, count = f"{rule.field} is absent", None
    if type(actual) is list and len(actual) > MAX_ITEMS:
        clause = f"{rule.field} has {len(actual):,} items, more than the {MAX_ITEMS:,} that are looked at"
    elif type(actual) is list:
        count = sum(map(holds, actual))
        clause = f"{count} of the {len(actual):,} items of {rule.field} match, where {rule.match} must"
    elif actual is not ABSENT:
        clause = f"{rule.field} is {kind_of(actual)} ({shown(actual)}), which has no items"
    return Account(
        clause=clause,
        field=rule.field,
        expected=str(rule.match),
        actual=ABSENT if count is None else count,
        absent=actual is ABSENT,
    )
