"""The port of the copy engine: what it asks of the database at either end."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from sqlalchemy import Table

from posthorn.errors import PosthornError
from posthorn.storage.copying.contents import Key, Row


class CopyFailed(PosthornError):
    """The copy stopped, or what it wrote differs from what it read. The message says which and the way out."""

    code = "copy_failed"


class End(Protocol):
    """A store that is held for a copy: nobody else works on it. Failures of the database raise CopyFailed."""

    shown: str  #: which store, for people; no secret in it
    holds_nul: bool  #: whether its texts can hold U+0000

    async def count(self, table: Table) -> int:
        """Count the rows that are to be copied."""
        ...

    def read(self, table: Table, after: Key | None) -> AsyncGenerator[list[Row], None]:
        """Read rows in the order of their key, behind a key or from the first, in batches."""
        ...

    def scan(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """Read all rows in any order, in batches."""
        ...

    async def meta(self, key: str) -> str | None:
        """Return a value that the store remembers about itself."""
        ...

    async def last_seq(self) -> int:
        """Return the greatest `seq` of the journal, 0 when it is empty."""
        ...

    async def last_change(self) -> int:
        """Return the greatest change number that was ever given out, 0 when none was."""
        ...

    async def days(self) -> list[int]:
        """Return the UTC days, counted from 1970, that have journal rows."""
        ...

    async def prepare(self, days: Sequence[int]) -> None:
        """Make room for journal rows of these days."""
        ...

    async def remember(self, mark: str) -> None:
        """Commit the mark of the copy alone."""
        ...

    async def put(self, table: Table, rows: Sequence[Row], mark: str) -> None:
        """Commit rows together with the mark of the copy."""
        ...

    async def finish(self, last_change: int) -> None:
        """Let numbering go on behind `last_change` and take the mark away: the store may be started on."""
        ...

    async def must_be_alone(self) -> None:
        """Raise StartRefused when somebody works on the store."""
        ...
