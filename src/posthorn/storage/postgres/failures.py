"""What the failure of one try means: whether it may be repeated, and whether it can have been committed."""

from enum import Enum

import asyncpg  # type: ignore[import-untyped]  # It ships no types.

from posthorn.errors import StoreUnavailable


class Verdict(Enum):
    """What to do about the error of one try."""

    LOST = "lost"  #: the connection is gone, and with it the answer: what was to be committed may be
    MOVED = "moved"  #: nothing was written, and this is not the server to write to: connect anew, then repeat
    AGAIN = "again"  #: nothing was written, and a repeat may succeed
    REFUSED = "refused"  #: nothing was written, and a repeat would be refused as well


class AnswerLostError(Exception):
    """The server said that it committed, and warned that the commit may not outlive it."""


class FailedTryError(Exception):
    """One try failed. `is_unknown` says that it may have been committed all the same."""

    def __init__(self, error: Exception, verdict: Verdict, *, is_unknown: bool) -> None:
        self.error = error
        self.verdict = verdict
        self.is_unknown = is_unknown
        super().__init__(str(error))


FOREIGN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, AnswerLostError)
"""Everything that a try can meet that is not the job's own error. A timeout is an OSError."""

FOR_CALLERS = (
    asyncpg.DataError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.NotNullViolationError,
)
"""Errors that say something of the caller's data."""

_FATAL = frozenset({"FATAL", "PANIC"})
_MOVED = (
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a primary that was demoted
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TargetServerAttributeNotMatched,
)
_AGAIN = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DivisionByZeroError,  # our own guard against a race with another node
    asyncpg.CheckViolationError,  # a row found no partition
    asyncpg.InvalidCachedStatementError,  # a migration changed what a prepared statement returns
)
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # asyncpg says so of a connection that closed meanwhile
    asyncpg.InternalClientError,
    AnswerLostError,
)


def verdict_on(error: Exception) -> Verdict:
    """Judge the error of one try."""
    if isinstance(error, _MOVED):
        return Verdict.MOVED
    if isinstance(error, _AGAIN):
        return Verdict.AGAIN
    if isinstance(error, _LOST) or getattr(error, "severity_en", None) in _FATAL:
        return Verdict.LOST
    return Verdict.REFUSED


def unavailable(error: Exception, shown: str, *, is_unknown: bool = False) -> StoreUnavailable:
    """Say in the user's words why the store cannot answer now. `shown` is the address without its secrets."""
    if isinstance(error, asyncpg.DiskFullError):
        return StoreUnavailable("the disk of the database is full; free some space, nothing needs a restart")
    reason = str(error) or type(error).__name__
    if is_unknown:
        return StoreUnavailable(f"the database {shown} does not tell whether the last commit succeeded: {reason}")
    return StoreUnavailable(f"the database {shown} cannot answer now: {reason}")
