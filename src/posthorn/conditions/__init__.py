"""Conditions over an event, its person and what both are known for: decode, compile, decide, explain. Pure."""

from posthorn.conditions.compiled import CompiledConditions, compile_conditions, compile_window
from posthorn.conditions.decoding import decode_conditions
from posthorn.conditions.explaining import Explanation
from posthorn.conditions.fields import Facts
from posthorn.conditions.instants import instant_ms
from posthorn.conditions.needs import Needs
from posthorn.conditions.tree import AllOf, AnyOf, Comparison, Condition, Not, Operator
from posthorn.conditions.windows import Window, WindowNeed, with_time

__all__ = [
    "AllOf",
    "AnyOf",
    "Comparison",
    "CompiledConditions",
    "Condition",
    "Explanation",
    "Facts",
    "Needs",
    "Not",
    "Operator",
    "Window",
    "WindowNeed",
    "compile_conditions",
    "compile_window",
    "decode_conditions",
    "instant_ms",
    "with_time",
]
