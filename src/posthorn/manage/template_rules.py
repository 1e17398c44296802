"""Checking templates before they are stored, so that their author sees every mistake at once."""

from collections.abc import Mapping

from posthorn.errors import Invalid
from posthorn.templating import Dialect, Escape, Template, TemplateSyntaxInvalid, compile_template


def check_template(
    text: str,
    *at: str | int,
    escape: Escape,
    dialect: Dialect = "liquid",
    blocks: Mapping[str, str] | None = None,
) -> Template:
    """Compile a template; raises Invalid at `at` with the line and column of the mistake."""
    try:
        return compile_template(text, escape=escape, dialect=dialect, blocks=blocks)
    except TemplateSyntaxInvalid as error:
        raise Invalid(error.problem_at(*at)) from None


def is_template(text: str) -> bool:
    """Tell whether a text has anything to fill in."""
    return "{{" in text or "{%" in text
