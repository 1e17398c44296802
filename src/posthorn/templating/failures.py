"""What can go wrong with a template, and where. No failure ever carries a rendered value."""

from typing import Final

from liquid.token import Token

from posthorn.errors import Invalid, PosthornError, Problem


class TemplateSyntaxInvalid(Invalid):
    """The template cannot be compiled: `message` says why, at `line` and `column` (both counted from 1)."""

    code = "template_syntax"

    def __init__(self, message: str, *, line: int, column: int) -> None:
        self.message: Final = message
        self.line: Final = line
        self.column: Final = column
        super().__init__(self.problem_at())

    def problem_at(self, *loc: str | int) -> Problem:
        """Describe this failure as one problem of a larger document, at `loc` in it."""
        return Problem(loc=loc, msg=str(self), type=self.code)

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class TemplateRenderFailed(PosthornError):
    """The template met values that it cannot print, or a limit; `line` and `column` count from 1.

    The message names variables and filters, never values: a value may be a secret.
    """

    code = "template_failed"
    http_status = 422

    def __init__(self, message: str, *, line: int, column: int) -> None:
        self.message: Final = message
        self.line: Final = line
        self.column: Final = column
        super().__init__(f"line {line}, column {column}: {message}")


class Fault(Exception):
    """A run-time fault inside the tree; `token` is None where only an outer node knows the place."""

    def __init__(self, message: str, token: Token | None = None) -> None:
        self.message: Final = message
        self.token: Final = token
        super().__init__(message)


def place_of(text: str, index: int) -> tuple[int, int]:
    """Return line and column, both counted from 1, of a character in a template."""
    index = max(0, min(index, len(text)))
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def syntax_invalid(text: str, index: int, message: str) -> TemplateSyntaxInvalid:
    """Build the failure for one character of a template."""
    line, column = place_of(text, index)
    return TemplateSyntaxInvalid(message, line=line, column=column)
