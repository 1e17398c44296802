"""Where settings come from. A source yields only what it was given; the first that has a value wins."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from posthorn.errors import SettingsInvalid
from posthorn.settings.declared import SETTINGS, Setting, Settings

CLIENT_VARIABLES = ("POSTHORN_URL",)
"""Variables of the command line's client, which a server may see too and must not stumble over."""

_OURS = "POSTHORN_"
_SERVICE_LINKS = ("POSTHORN_SERVICE_", "POSTHORN_PORT_")

Given = str | Sequence[str] | None
Partial = dict[str, Any]


def read_settings(*, flags: Mapping[str, Given], environ: Mapping[str, str]) -> Settings:
    """Merge flags over environment over defaults and check the whole.

    `flags` maps a setting's name to the text (or texts) on the command line, None or () when not given.
    Raises SettingsInvalid that names every unknown variable and every value that could not be read, at once.
    """
    problems: list[str] = []
    from_flags = _parse_flags(flags, problems)
    from_environment = _parse_environment(environ, problems)
    if problems:
        raise SettingsInvalid("\n".join(problems))
    return Settings(**(from_environment | from_flags))


def _parse_flags(flags: Mapping[str, Given], problems: list[str]) -> Partial:
    partial: Partial = {}
    for setting in SETTINGS:
        given = flags.get(setting.name)
        if not given and given != "":
            continue
        text = given if isinstance(given, str) else ",".join(given)
        _parse_into(partial, setting, text, setting.option, problems)
    return partial


def _parse_environment(environ: Mapping[str, str], problems: list[str]) -> Partial:
    partial: Partial = {}
    known = {setting.variable: setting for setting in SETTINGS}
    for variable, text in sorted(environ.items()):
        if variable in known:
            # Compose files and unit files pass variables that nobody set as empty texts. An empty secret is
            # refused all the same: somebody may believe to have given it.
            if text or known[variable].secret:
                _parse_into(partial, known[variable], text, variable, problems)
        elif variable.startswith(_OURS) and variable not in CLIENT_VARIABLES:
            problems.append(_unknown(variable, [*known, *CLIENT_VARIABLES]))
    return partial


def _parse_into(partial: Partial, setting: Setting, text: str, origin: str, problems: list[str]) -> None:
    try:
        partial[setting.name] = setting.parse(text)
    except ValueError as error:
        shown = "" if setting.secret else f"={text!r}"
        problems.append(f"{origin}{shown}: {error}")


def _unknown(variable: str, known: Sequence[str]) -> str:
    if variable.startswith(_SERVICE_LINKS):
        return (
            f"{variable}: Kubernetes injects this for a Service named posthorn; "
            "set enableServiceLinks: false in the pod's specification"
        )
    near = get_close_matches(variable, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; docs/settings.md lists what there is"
    return f"{variable}: there is no such setting{hint}"
