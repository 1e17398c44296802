"""Renders docs/settings.md from the declared settings."""

from posthorn.settings.declared import SETTINGS, Setting

_HEAD = """# Settings

Flags win over environment variables, which win over defaults. An empty variable counts as absent, except
that of a secret, which is refused. An unknown `POSTHORN_…` variable stops the start. This page is written by
`make docs`; edit `src/posthorn/settings/declared.py` instead.

"""


def settings_reference() -> str:
    """Return the page in Markdown."""
    return _HEAD + "\n".join(_entry(setting) for setting in SETTINGS)


def _entry(setting: Setting) -> str:
    several = " (repeatable; the variable takes a list separated by commas)" if setting.repeatable else ""
    lines = [
        f"## `{setting.name}`\n",
        f"{setting.meaning} {setting.special}".strip() + "\n",
        f"- Flag: `{setting.option} {setting.placeholder}`{several}",
        f"- Variable: `{setting.variable}`",
        f"- Default: {_shown_default(setting)}",
    ]
    if setting.unit:
        lines.append(f"- Unit: {setting.unit}")
    return "\n".join(lines) + "\n"


def _shown_default(setting: Setting) -> str:
    return f"`{setting.shown_default}`" if setting.shown_default else "none"
