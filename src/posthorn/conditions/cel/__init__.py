"""Expressions in the Common Expression Language: checked, bounded, compiled once. Pure."""

from posthorn.conditions.cel.expression import expression_fault, make_cel, needs_of_expression

__all__ = ["expression_fault", "make_cel", "needs_of_expression"]
