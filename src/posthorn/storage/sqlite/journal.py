"""The journal over SQLite. Its reads run in reader threads."""

import sqlite3
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from posthorn.engine.journal import TailPage
from posthorn.storage import journal_erasing, journal_threads
from posthorn.storage.journal_reading import JournalReader
from posthorn.storage.questions import Questions
from posthorn.storage.sqlite.database import Database, spelled
from posthorn.storage.sqlite.writer import Transaction

Answer = TypeVar("Answer")
Given = ParamSpec("Given")
Execute = Callable[[str, tuple[Any, ...]], sqlite3.Cursor]


class SqliteJournal(JournalReader):
    """Implements the Journal port."""

    _database: Database

    async def tail(self, workspace: str, *, after: int | None, limit: int) -> TailPage:
        """What was committed after a cursor, in commit order."""

        def read(connection: sqlite3.Connection) -> TailPage:
            connection.execute("BEGIN")  # one snapshot, so that no table is read later than another
            try:
                return answered(connection.execute, journal_threads.tail(workspace, after=after, limit=limit))
            finally:
                connection.execute("COMMIT")

        return await self._database.read(read)

    async def forget_payload(self, workspace: str, event: str) -> bool:
        """Erase an event's payload, and the body of the request that it came with."""
        return await self._change(journal_erasing.forget_payload, workspace, event)

    async def forget_response(self, workspace: str, attempt: str) -> bool:
        """Erase an attempt's response body."""
        return await self._change(journal_erasing.forget_response, workspace, attempt)

    async def _answer(
        self, ask: Callable[Given, Questions[Answer]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        def read(connection: sqlite3.Connection) -> Answer:
            return answered(connection.execute, ask(*args, **kwargs))

        return await self._database.read(read)

    async def _change(
        self, ask: Callable[Given, Questions[Answer]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        def write(transaction: Transaction) -> Answer:
            return answered(transaction.execute, ask(*args, **kwargs))

        return await self._database.write(write)


def answered(execute: Execute, questions: Questions[Answer]) -> Answer:
    """Run the statements of some questions, one after another, and return the answer."""
    try:
        question = next(questions)
        while True:
            question = questions.send(execute(*spelled(question)).fetchall())
    except StopIteration as end:
        answer: Answer = end.value
        return answer
