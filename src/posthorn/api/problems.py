"""Where a problem is, as callers name it."""

from posthorn.errors import Problem

_PLACES = frozenset({"body", "query", "path", "header"})


def placed(problem: Problem) -> Problem:
    """Put a problem of the use cases, whose places are relative to the data, under the body."""
    if problem.loc and problem.loc[0] in _PLACES:
        return problem
    return Problem(loc=("body", *problem.loc), msg=problem.msg, type=problem.type)
