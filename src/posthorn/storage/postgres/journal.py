"""The journal over PostgreSQL. Its reads have connections of their own, so that none delays the hot path."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from msgspec.structs import replace

from posthorn.engine.journal import AttemptQuery, AttemptRow, EventQuery, Page, TailPage
from posthorn.engine.records import Event
from posthorn.storage import journal_erasing, journal_threads
from posthorn.storage.journal_reading import JournalReader
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database, spelled
from posthorn.storage.postgres.journal_texts import is_storable
from posthorn.storage.questions import Questions
from posthorn.storage.sequence import seq_at

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

_SLACK_MS = 100
# Only our own sessions write the journal. One that has gone on for a second and wrote nothing yet is a reader.
_OLDEST_WRITER = """
SELECT (extract(epoch FROM clock_timestamp() - min(xact_start)) * 1000)::bigint FROM pg_stat_activity
WHERE datname = current_database() AND application_name = current_setting('application_name')
    AND pid <> pg_backend_pid()
    AND (backend_xid IS NOT NULL OR xact_start > clock_timestamp() - interval '1 second')"""


class PostgresJournal(JournalReader):
    """Implements the Journal port."""

    _database: Database

    async def events(self, query: EventQuery) -> Page[Event]:
        """Events; payloads only when the query asks for them."""
        return await super().events(replace(query, types=_storable(query.types)))

    async def attempts(self, query: AttemptQuery) -> Page[AttemptRow]:
        """Attempts by event, endpoint, delivery, status."""
        return await super().attempts(replace(query, types=_storable(query.types)))

    async def tail(self, workspace: str, *, after: int | None, limit: int) -> TailPage:
        """What was committed after a cursor, in the order of `seq`.

        A transaction draws its seq before others see its rows: while one is under way, rows younger than it are held
        back, and so is the cursor. What remains is a node that stands still between drawing a seq and sending the
        statement (or whose network takes longer than a tenth of a second), and one that logs in as another user, whose
        sessions PostgreSQL does not show: the tail may pass their rows over. Every other read finds them.
        """

        async def read(connection: Connection) -> TailPage:
            # Asked for before the snapshot is taken: what ends in between is in it.
            age_ms = await connection.fetchval(_OLDEST_WRITER)
            before = seq_at(self._database.clock.now_ms() - age_ms - _SLACK_MS) if age_ms is not None else None
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                questions = journal_threads.tail(workspace, after=after, limit=limit, before=before)
                return await answered(self._database, connection, questions)

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
        async def read(connection: Connection) -> Answer:
            return await answered(self._database, connection, ask(*args, **kwargs))

        return await self._database.read(read)

    async def _change(
        self, ask: Callable[Given, Questions[Answer]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        async def write(connection: Connection, again: bool) -> Answer:  # noqa: ARG001, FBT001 - done twice, it is the same
            return await answered(self._database, connection, ask(*args, **kwargs))

        return await self._database.write(write)


async def answered(database: Database, connection: Connection, questions: Questions[Answer]) -> Answer:
    """Run the statements of some questions, one after another, and return the answer."""
    try:
        question = next(questions)
        while True:
            sql, arguments = spelled(question)
            # No row holds a text that cannot be stored, and such a text is only ever compared for being equal.
            rows = await connection.fetch(sql, *arguments) if all(map(is_storable, arguments)) else []
            database.count(1)
            question = questions.send(rows)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def _storable(types: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what no row can be of, unless nothing would be left: that would ask for rows of every type."""
    return tuple(name for name in types if is_storable(name)) or types
