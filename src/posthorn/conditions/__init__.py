"""Conditions over an event, its user and its source: decode, compile, decide, explain. Pure."""

from posthorn.conditions.compiled import CompiledConditions, compile_conditions
from posthorn.conditions.decoding import decode_conditions
from posthorn.conditions.explaining import Explanation
from posthorn.conditions.fields import Facts
from posthorn.conditions.tree import AllOf, AnyOf, Comparison, Condition, Not, Operator

__all__ = [
    "AllOf",
    "AnyOf",
    "Comparison",
    "CompiledConditions",
    "Condition",
    "Explanation",
    "Facts",
    "Not",
    "Operator",
    "compile_conditions",
    "decode_conditions",
]
