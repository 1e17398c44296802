"""What can go wrong with a template, and where. No failure ever carries a rendered value."""

from typing import TYPE_CHECKING, Final

from liquid.token import Token

from posthorn.errors import Invalid, PosthornError, Problem

if TYPE_CHECKING:
    from posthorn.templating.content import ContentRequest


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


class Aborted(TemplateRenderFailed):
    """The template itself said `abort_message`: an outcome that the author wanted, not a fault.

    `reason` is literal text of the template ("" when it gives none), so it never tells a value. Whoever does not
    know of aborts sees a failed rendering, so that nothing is sent.
    """

    code = "template_aborted"

    def __init__(self, reason: str, *, line: int, column: int) -> None:
        self.reason: Final = reason
        super().__init__(f"aborted: {reason}" if reason else "aborted", line=line, column=column)


class ContentWanted(TemplateRenderFailed):
    """The rendering needs the answer to `request`: fetch it and render again with it among the answers.

    Whoever fetches nothing sees a failed rendering.
    """

    code = "template_content_wanted"

    def __init__(self, request: "ContentRequest", *, line: int, column: int) -> None:
        self.request: Final = request
        super().__init__("connected content is not fetched here", line=line, column=column)


class ContentUnanswered(TemplateRenderFailed):
    """Content that was asked for with `:retry` did not come. It may later: render again then, with a fresh answer."""

    code = "template_content_unanswered"


class Fault(Exception):
    """A run-time fault inside the tree; `token` is None where only an outer node knows the place."""

    def __init__(self, message: str, token: Token | None = None) -> None:
        self.message: Final = message
        self.token: Final = token
        super().__init__(message)


class AbortSignal(Fault):
    """`abort_message` was reached inside the tree; `message` is the reason."""


class ContentSignal(Fault):
    """`connected_content` was reached and its answer is not there."""

    def __init__(self, request: "ContentRequest", token: Token) -> None:
        self.request: Final = request
        super().__init__("connected content is not fetched here", token)


class UnansweredSignal(Fault):
    """`connected_content` with `:retry` was reached and its answer is one that may pass."""

    def __init__(self, token: Token) -> None:
        super().__init__("connected_content: there was no answer", token)
