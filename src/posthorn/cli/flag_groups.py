"""Flags in groups: a command takes a frozen dataclass, and the shell sees its fields as flags of their own."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def with_flag_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the fields of each dataclass among its parameters in place of that dataclass.

    Every field needs a default, and an annotation as Typer reads it.
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters.values()
    groups = {each.name: hints[each.name] for each in own if is_dataclass(hints[each.name])}

    @wraps(command)
    def run(**given: Any) -> int:
        grouped = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **grouped)

    parameters = [each.replace(annotation=hints[each.name]) for each in own if each.name not in groups]
    parameters += [parameter for group in groups.values() for parameter in _parameters(group)]
    # Typer reads the flags from the signature and the annotations of the function.
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    return run


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(group)
    ]
