"""What `serve` and `quickstart` share: flags made from the declared settings, and the server as they see it."""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Protocol

import typer

from posthorn.cli.texts import _
from posthorn.settings import SETTINGS, Setting, Settings, read_settings


class Started(Protocol):
    """What the server says of itself once both doors are open."""

    @property
    def api_url(self) -> str:
        """Base address of the private door."""
        ...

    @property
    def inbox_url_base(self) -> str:
        """Base address of the public door, as the world reaches it."""
        ...

    @property
    def api_key(self) -> str | None:
        """The key that this start made, None when there was one."""
        ...


class Serve(Protocol):
    """Runs the server until a signal and returns the exit code. Raises StartRefused."""

    def __call__(self, settings: Settings, *, on_ready: Callable[[Started], None] | None = None) -> int:
        """Call `on_ready` in the server's event loop once both doors are open."""
        ...


def with_settings_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command a flag for each setting; it receives `settings` in their place, and its other parameters as is."""
    own = [each for each in inspect.signature(command).parameters.values() if each.name != "settings"]

    @wraps(command)
    def run(**given: Any) -> int:
        rest = {parameter.name: given.pop(parameter.name) for parameter in own}
        return command(settings=read_settings(flags=given, environ=os.environ), **rest)

    parameters = [*map(_parameter, SETTINGS), *own]
    # Typer reads the flags from the signature and the annotations of the function.
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    return run


def _parameter(setting: Setting) -> inspect.Parameter:
    option = typer.Option(
        setting.option,
        metavar=setting.placeholder,
        help=_help(setting),
        show_default=False,
        rich_help_panel=_("Settings"),
    )
    annotation = Annotated[list[str] | None, option] if setting.repeatable else Annotated[str | None, option]
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(setting: Setting) -> str:
    shown = f" [{_('default')}: {setting.shown_default}]" if setting.shown_default else ""
    sentences = f"{_(setting.meaning)} {_(setting.special) if setting.special else ''}".strip()
    return f"{sentences} [{setting.variable}]{shown}"
