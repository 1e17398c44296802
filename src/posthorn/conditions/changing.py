"""When time alone may turn the answer of conditions around. Segments set a timer for that instant."""

from posthorn.conditions.fields import Facts
from posthorn.conditions.nodes import Branch, Change, Inversion, Leaf, Node, RuleNode


def change_of(node: Node) -> Change:
    """Return the earliest instant at which a node's result may change by itself, as a function of facts and now."""

    def change(facts: Facts, now_ms: int) -> int | None:
        return _next_change(node, facts, now_ms)

    return change


def _next_change(node: Node, facts: Facts, now_ms: int) -> int | None:
    match node:
        case Leaf() | RuleNode():
            return node.change(facts, now_ms)
        case Inversion():
            return _next_change(node.child, facts, now_ms)
        case Branch():
            return _branch_change(node, facts, now_ms)


def _branch_change(branch: Branch, facts: Facts, now_ms: int) -> int | None:
    """An `all` that holds ends with the first of its children; one that does not waits for every failing child.

    A failing child that time never changes keeps the whole as it is: most profiles of most segments need no timer.
    An `any` is the same with the results turned around.
    """
    results = [child.test(facts) for child in branch.children]
    # What decides alone: a child that fails in an `all`, one that holds in an `any`.
    decisive = [child for child, result in zip(branch.children, results, strict=True) if result is branch.is_any]
    if not decisive:
        instants = [_next_change(child, facts, now_ms) for child in branch.children]
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)
    latest = now_ms
    for child in decisive:
        at_ms = _next_change(child, facts, now_ms)
        if at_ms is None:
            return None
        latest = max(latest, at_ms)
    return latest
