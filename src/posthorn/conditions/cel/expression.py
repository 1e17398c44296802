"""An expression over facts: only what it names is handed to the engine, and only when that is not too much."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from posthorn.clock import HOUR_MS
from posthorn.conditions.cel.engine import Program, Undecided, compile_program
from posthorn.conditions.cel.reading import Path, Reading, read_expression
from posthorn.conditions.cel.tokens import Fault, tokens_of
from posthorn.conditions.fields import ABSENT, ITEM, ROOTS, Facts
from posthorn.conditions.needs import Needs, needs_of_field, union
from posthorn.conditions.nodes import Account, Made
from posthorn.conditions.tree import Cel
from posthorn.conditions.wording import shown

MAX_EXPRESSION_CHARACTERS: Final = 4_096
MAX_LOOP_STEPS: Final = 10_000
_VALUE_WEIGHT: Final = 16  # a value takes the time of about so many characters
_MOST_LOOKED_AT: Final = 500_000_000  # characters, about half a second
_MOST_ADDED: Final = 100_000_000  # bytes that stay in memory until the evaluation ends
_MOST_SHOWN: Final = 5

_Wanted = dict[str, Any]  # the attributes to hand over: each with its own, or with None when it is wanted whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expression:
    source: str
    program: Program
    reading: Reading
    wanted: _Wanted


def expression_fault(source: object, roots: tuple[str, ...]) -> str | None:
    """Say what is wrong with an expression, with line and column, if anything is."""
    if not isinstance(source, str) or not source.strip() or len(source) > MAX_EXPRESSION_CHARACTERS:
        return f"expected an expression of 1 to {MAX_EXPRESSION_CHARACTERS:,} characters"
    compiled = _compiled(source, roots)
    return str(compiled) if isinstance(compiled, Fault) else None


def needs_of_expression(source: str) -> Needs:
    """Return what an expression looks at."""
    paths = _of_source(source).reading.paths
    return union(needs_of_field(path[0], path[1] if len(path) > 1 else None) for path in paths)


def make_cel(condition: Cel) -> Made:
    """Compile an expression. An error at run time is no match, and its explanation says what went wrong.

    One that looks at `now` or `local` is to be asked again every hour, because nobody can tell when time turns it.
    """
    expression = _of_source(condition.cel)
    wanted, holds = expression.wanted, expression.program.holds
    bounded = expression.reading.depth > 0

    def test(facts: Facts) -> bool:
        picked = _picked(facts, wanted)
        return not (bounded and _excess(expression, picked)) and holds(picked)

    def change(_: Facts, now_ms: int) -> int:
        return now_ms - now_ms % HOUR_MS + HOUR_MS

    def account(facts: Facts) -> Account:
        return _account(expression, facts)

    if needs_of_expression(condition.cel).times:
        return Made(test=test, account=account, change=change)
    return Made(test=test, account=account)


def _of_source(source: str) -> _Expression:
    compiled = _compiled(source, (*ROOTS, ITEM))
    if isinstance(compiled, Fault):
        # Unreachable from compile_conditions(), which has checked the expression.
        raise TypeError(str(compiled))
    return compiled


@lru_cache(maxsize=256)
def _compiled(source: str, roots: tuple[str, ...]) -> _Expression | Fault:
    program = compile_program(source)
    if isinstance(program, Fault):
        return program
    reading = read_expression(source, tokens_of(source), roots)
    if isinstance(reading, Fault):
        return reading
    return _Expression(source=source, program=program, reading=reading, wanted=_wanted(reading.paths))


def _wanted(paths: tuple[Path, ...]) -> _Wanted:
    wanted: _Wanted = {}
    for path in sorted(paths, key=len, reverse=True):
        inner = wanted
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        # Shorter paths come later and take the place of what was wanted inside of them.
        inner[path[-1]] = None
    return wanted


def _picked(facts: Facts, wanted: _Wanted) -> dict[str, Any]:
    """Take over what an expression names. What never happened has the count 0, and who is in no segment is in none."""
    picked: dict[str, Any] = {}
    for root, inner in wanted.items():
        value = facts.get(root, ABSENT)
        if inner is None:
            if value is not ABSENT:
                picked[root] = value
        else:
            picked[root] = _picked_from({} if value is ABSENT else value, inner)
    for event in wanted.get("counts", ()):
        _default(picked["counts"], event, {"count": 0})
    for segment in wanted.get("segments", ()):
        _default(picked["segments"], segment, False)
    return picked


def _default(values: Any, name: str, value: Any) -> None:
    if isinstance(values, dict):
        values.setdefault(name, value)


def _picked_from(value: Any, wanted: _Wanted | None) -> Any:
    if wanted is None or not isinstance(value, dict):
        return value
    return {name: _picked_from(value[name], inner) for name, inner in wanted.items() if name in value}


def _excess(expression: _Expression, picked: Mapping[str, Any]) -> bool:
    """Tell whether the loops of an expression could take too long, or too much memory, with these facts."""
    reading = expression.reading
    size = _measure(picked)
    weight = size.weight + len(expression.source)
    longest = size.longest + expression.source.count(",") + 1
    # Which value grows is not known, so all of them count as grown, at every step of the innermost loop.
    steps: int = min(MAX_LOOP_STEPS, (longest * reading.growth) ** reading.depth) * reading.growth
    added = max(size.longest_text, size.longest * _VALUE_WEIGHT) + len(expression.source)
    return weight * steps > _MOST_LOOKED_AT or (reading.adds and added * steps > _MOST_ADDED)


@dataclass(slots=True)
class _Size:
    weight: int = 0  #: characters, and for each value as many as it takes the time of
    longest: int = 0  #: items of the longest array or object
    longest_text: int = 0


def _measure(value: object) -> _Size:
    size = _Size()
    stack: list[object] = [value]
    while stack:
        each = stack.pop()
        size.weight += _VALUE_WEIGHT
        if isinstance(each, str):
            size.weight += len(each)
            size.longest_text = max(size.longest_text, len(each))
        elif isinstance(each, list):
            size.longest = max(size.longest, len(each))
            stack.extend(each)
        elif isinstance(each, dict):
            size.longest = max(size.longest, len(each))
            stack.extend(each)
            stack.extend(each.values())
    return size


def _account(expression: _Expression, facts: Facts) -> Account:
    picked = _picked(facts, expression.wanted)
    values = _values(expression.reading.paths, picked)
    text = expression.source if len(expression.source) <= 100 else f"{expression.source[:99]}…"
    met = ", ".join(f"{name} {shown(value)}" for name, value in list(values.items())[:_MOST_SHOWN])
    if expression.reading.depth and _excess(expression, picked):
        clause = f"the expression {text} is not decided: there are too many values for its loops"
    else:
        result = expression.program.result(picked)
        if isinstance(result, Undecided):
            clause = f"the expression {text} cannot be decided: {result.reason[:200]}"
        else:
            clause = f"the expression {text} is {'true' if result else 'false'}{f' with {met}' if met else ''}"
    return Account(clause=clause, expected=True, actual=values)


def _values(paths: tuple[Path, ...], picked: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for path in paths:
        value: Any = picked
        for name in path:
            value = value.get(name, ABSENT) if isinstance(value, dict) else ABSENT
        if value is not ABSENT:
            values[".".join(path)] = value
    return values
