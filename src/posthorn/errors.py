"""The error tree. Exceptions mean failure; expected outcomes are returned values.

    PosthornError
    ├── Invalid             the caller's data is wrong: `problems` says where and how to mend it
    ├── Unauthenticated     no valid credential came with the call
    ├── Forbidden           the credential does not cover this
    ├── NotFound            no such thing in this workspace
    ├── Conflict            it contradicts what is already stored
    ├── TooLarge            over a size limit
    ├── Overloaded          more than we may hold in memory; `retry_after_seconds` says when to come back
    ├── StoreUnavailable    the store cannot commit now (disk full, locked); nothing was written
    └── StartRefused        the process must not start; the message says the way out
        └── SettingsInvalid a setting or flag is unknown or wrong

The HTTP layer maps each class to a status and the stable `code` below.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a caller's data: where (`loc`), what (`msg`), which kind (`type`)."""

    loc: tuple[str | int, ...]
    msg: str
    type: str = "value_error"


class PosthornError(Exception):
    """Base of every error that Posthorn raises on purpose."""

    code = "generic_error"
    http_status = 500


class Invalid(PosthornError):
    """The caller's data is wrong. Carries every problem found."""

    code = "validation"
    http_status = 422

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{'.'.join(map(str, p.loc))}: {p.msg}" for p in problems))

    @classmethod
    def at(cls, *loc: str | int, msg: str, type: str = "value_error") -> "Invalid":  # noqa: A002 - wire name
        """Build the error for one problem at one place."""
        return cls(Problem(loc=loc, msg=msg, type=type))


class Unauthenticated(PosthornError):
    """No valid credential came with the call."""

    code = "authentication_failed"
    http_status = 401


class Forbidden(PosthornError):
    """The credential is valid but does not cover this."""

    code = "insufficient_access"
    http_status = 403


class NotFound(PosthornError):
    """There is no such thing in this workspace."""

    code = "not_found"
    http_status = 404


class Conflict(PosthornError):
    """It contradicts what is already stored."""

    code = "conflict"
    http_status = 409


class TooLarge(PosthornError):
    """Over a size limit."""

    code = "payload_too_large"
    http_status = 413


class Overloaded(PosthornError):
    """More work is waiting than may be held in memory."""

    code = "overloaded"
    http_status = 503

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class StoreUnavailable(PosthornError):
    """The store cannot commit now; nothing of the call was written."""

    code = "store_unavailable"
    http_status = 503

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class StartRefused(PosthornError):
    """The process must not start; the message says why and the way out."""

    code = "start_refused"


class SettingsInvalid(StartRefused):
    """A setting or flag is unknown or has a wrong value."""

    code = "settings_invalid"
