"""The one owner of the CEL library (cel-expr-python, Google's C++ implementation).

What the library bounds by itself, as measured with 0.1.3: nesting of 32 levels, 10,000 steps of all loops of one
evaluation. What it does not bound, `reading` and `expression` do: text that doubles in loops, and large facts.
A null result is never read: the library gives it away with one reference too few.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from posthorn.conditions.cel.tokens import Fault
from posthorn.conditions.fields import ITEM, ROOTS

# Regular expressions stay out, as everywhere in conditions, and so does what only makes copies or hides types.
_CONFIGURATION: Final = """
name: posthorn
stdlib:
  exclude_functions:
    - name: matches
    - name: bytes
    - name: dyn
    - name: type
"""
_ERROR: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_CODE: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """The expression has no answer for these facts: an attribute is missing, types do not fit, a bound is reached."""

    reason: str


class Program:
    """A compiled expression whose result is true or false. Safe to run in any thread."""

    __slots__ = ("_evaluate",)

    def __init__(self, native: Any) -> None:
        self._evaluate: Final = native.eval

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Tell whether the result is true; every failure counts as not true."""
        try:
            return self._evaluate(data=facts).plain_value() is True
        except Exception:  # noqa: BLE001 - whatever the library has against a value, the answer is no
            return False

    def result(self, facts: Mapping[str, Any]) -> bool | Undecided:
        """Return the result, or why there is none."""
        try:
            value = self._evaluate(data=facts).plain_value()
        except Exception as error:  # noqa: BLE001 - the same
            return Undecided(reason=_CODE.sub("", str(error)))
        return value if isinstance(value, bool) else Undecided(reason=_CODE.sub("", str(value)))


def compile_program(source: str) -> Program | Fault:
    """Compile an expression, or say what is wrong with it."""
    try:
        native = _environment().compile(source)
        kind = native.return_type().name()
        if kind == "DYN":
            # What a fact holds is known only when it is there; anything but true is not true.
            native = _environment().compile(f"({source}\n) == true")
            kind = native.return_type().name()
    except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and TypeError with all it has to say
        return _fault(str(error), source)
    if kind != "BOOL":
        return Fault(line=1, column=1, message=f"the result must be true or false, and this one is {kind.lower()}")
    return Program(native)


@lru_cache(maxsize=1)
def _environment() -> Any:
    # The library takes 10 MB of memory; most installations have no expression.
    from cel_expr_python import cel  # type: ignore[import-untyped]  # noqa: PLC0415

    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_CONFIGURATION),
        variables=dict.fromkeys((*ROOTS, ITEM), cel.Type.DYN),
    )


def _fault(text: str, source: str) -> Fault:
    found = _ERROR.search(text)
    if found is None:
        return Fault(line=1, column=1, message=_CODE.sub("", text.partition("\n")[0]))
    line, column, message = max(int(found[1]), 1), max(int(found[2]), 1), found[3]
    message = message.partition(" expecting {")[0]
    undeclared = _UNDECLARED.search(message)
    if undeclared is not None:
        column = _beginning(source, line, column, undeclared[1])
    message = _UNDECLARED.sub(rf"unknown name '\1'; known are {', '.join(ROOTS)}", message)
    return Fault(line=line, column=column, message=_CODE.sub("", message))


def _beginning(source: str, line: int, column: int, name: str) -> int:
    """Find where a name begins: the library points at its last dot, or at the parenthesis behind it."""
    lines = source.split("\n")
    before = lines[line - 1][: column - 1] if line <= len(lines) else ""
    known = next((part for part in (name, name.rpartition(".")[0]) if before.endswith(part)), "")
    return column - len(known)
