"""The open database: who gets which connection, how long a try may take, and what happens when an answer is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from posthorn.clock import Clock
from posthorn.errors import PosthornError, StoreUnavailable
from posthorn.storage.postgres.address import Address
from posthorn.storage.postgres.connections import Connection, Connections
from posthorn.storage.postgres.failures import (
    FOR_CALLERS,
    FOREIGN,
    AnswerLostError,
    FailedTryError,
    Verdict,
    unavailable,
    verdict_on,
)
from posthorn.storage.postgres.sessions import hot_settings, reader_settings

Result = TypeVar("Result")
Read = Callable[[Connection], Awaitable[Result]]
Write = Callable[[Connection, bool], Awaitable[Result]]

_HOT_CONNECTIONS = 8
_WARM_CONNECTIONS = 2
_READER_CONNECTIONS = 3
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for answers. Shorter than the server's limits: then it is we who know why one is missing."""

    hot_try_seconds: float = 8.0
    reader_try_seconds: float = 55.0
    persist_seconds: float = 20.0


_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


class Database:
    """Connections for the hot path, others for long reads, and the rules of repeating.

    A job gets one connection for itself and must be fit to run again. Its own errors come out as they are, and so do
    those of `failures.FOR_CALLERS`; everything else that goes wrong comes out as StoreUnavailable.
    """

    def __init__(
        self,
        address: Address,
        clock: Clock,
        *,
        server_version: int = 15,
        warnings: tuple[str, ...] = (),
        patience: Patience | None = None,
    ) -> None:
        self.address = address
        self.clock = clock
        self.warnings = warnings  #: what an operator should know about this server, in sentences
        self._patience = patience or Patience()
        self.commits = 0
        self.statements = 0
        self._hot = Connections(address, most=_HOT_CONNECTIONS, settings=hot_settings(server_version))
        self._readers = Connections(address, most=_READER_CONNECTIONS, settings=reader_settings())

    async def warm_up(self) -> None:
        """Open the connections that the first callers need. Raises what asyncpg raises."""
        await self._hot.warm_up(_WARM_CONNECTIONS)

    def count(self, statements: int) -> None:
        """Count statements, for the figures."""
        self.statements += statements

    async def look(self, job: Read[Result]) -> Result:
        """Read a few rows by key, on a hot connection."""
        return await self._persist(lambda *_: self._try_read(job, self._hot, self._patience.hot_try_seconds))

    async def read(self, job: Read[Result]) -> Result:
        """Run a longer read on one connection. A lost connection is tried again on another one."""
        return await self._persist(lambda *_: self._try_read(job, self._readers, self._patience.reader_try_seconds))

    async def write(self, job: Write[Result], *, at_once: bool = False) -> Result:
        """Run a job in one transaction; what it did is durable when this returns.

        The job's second argument `again` says that an earlier try of this call may have been committed.
        With `at_once` the first try is one statement that commits by itself: no transaction is opened around it.
        """
        result = await self._persist(
            lambda again, until: self._try_write(job, again=again, at_once=at_once and not again, until=until)
        )
        self.commits += 1
        return result

    async def close(self) -> None:
        """Let go of the connections. Whoever still runs something keeps its own until that ends."""
        await self._hot.close()
        await self._readers.close()

    async def _persist(self, try_once: Callable[[bool, float], Awaitable[Result]]) -> Result:
        loop = asyncio.get_running_loop()
        until, pause_seconds, again = loop.time() + self._patience.persist_seconds, _FIRST_PAUSE_SECONDS, False
        while True:
            try:
                return await try_once(again, until)
            except FailedTryError as failed:
                again = again or failed.is_unknown
                if failed.verdict is Verdict.REFUSED or loop.time() > until:
                    raise unavailable(failed.error, self.address.shown, is_unknown=again) from failed.error
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _try_write(self, job: Write[Result], *, again: bool, at_once: bool, until: float) -> Result:
        connection = await _borrow(self._hot)
        if again and asyncio.get_running_loop().time() > until:
            # This process may have stood still for so long that what tells a repeat from a new write was pruned.
            self._hot.give_back(connection)
            raise FailedTryError(TimeoutError("it is too late to ask again"), Verdict.LOST, is_unknown=True)
        # asyncpg's own timeout would cancel the statement, and a commit whose wait for a standby is cancelled
        # reports success. A connection that is cut off reports nothing, which is the truth.
        timer = asyncio.get_running_loop().call_later(self._patience.hot_try_seconds, connection.terminate)
        connection.warning = None
        is_committing = at_once
        try:
            if at_once:
                result = await job(connection, again)
            else:
                await connection.execute("BEGIN")
                result = await job(connection, again)
                is_committing = True
                await _commit(connection)
            _heed(connection)
        except FOREIGN as error:
            verdict = verdict_on(error)
            await _return(connection, self._hot, verdict)
            if isinstance(error, FOR_CALLERS) and verdict is Verdict.REFUSED:
                raise
            raise FailedTryError(error, verdict, is_unknown=is_committing and verdict is Verdict.LOST) from None
        except PosthornError:
            await _return(connection, self._hot, Verdict.REFUSED)
            raise
        except BaseException:
            self._hot.drop(connection)  # The caller gave up, or the job is broken: nobody knows what is under way.
            raise
        finally:
            timer.cancel()
        self._hot.give_back(connection)
        return result

    async def _try_read(self, job: Read[Result], connections: Connections, seconds: float) -> Result:
        connection = await _borrow(connections)
        timer = asyncio.get_running_loop().call_later(seconds, connection.terminate)
        try:
            result = await job(connection)
        except FOREIGN as error:
            verdict = verdict_on(error)
            await _return(connection, connections, verdict)
            if isinstance(error, FOR_CALLERS) and verdict is Verdict.REFUSED:
                raise
            raise FailedTryError(error, verdict, is_unknown=False) from None
        except PosthornError:
            await _return(connection, connections, Verdict.REFUSED)
            raise
        except BaseException:
            connections.drop(connection)
            raise
        finally:
            timer.cancel()
        connections.give_back(connection)
        return result


async def _borrow(connections: Connections) -> Connection:
    try:
        return await connections.borrow()
    except FOREIGN as error:
        raise FailedTryError(error, verdict_on(error), is_unknown=False) from None


async def _return(connection: Connection, connections: Connections, verdict: Verdict) -> None:
    """Undo what the try left behind, and lend the connection on if it is still good."""
    if verdict in {Verdict.AGAIN, Verdict.REFUSED}:
        with suppress(*FOREIGN):
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            connections.give_back(connection)
            return
    connections.drop(connection)


async def _commit(connection: Connection) -> None:
    if await connection.execute("COMMIT") != "COMMIT":
        # The job swallowed an error of the server, and nothing of it can be committed any more.
        raise StoreUnavailable("the store refused a write: its transaction had failed before")


def _heed(connection: Connection) -> None:
    if connection.warning is not None:
        raise AnswerLostError(connection.warning)


def spelled(query: Executable) -> tuple[str, list[Any]]:
    """Turn a SQLAlchemy query into PostgreSQL's text, with $1 and so on, and its arguments in that order."""
    compiled = query.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    parameters = compiled.params
    return str(compiled), [parameters[name] for name in compiled.positiontup or ()]
