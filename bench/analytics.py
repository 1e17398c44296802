"""A careless analyst: aggregates over the journal, again and again, within one transaction that never ends.

Its snapshot keeps vacuum from removing any row that dies meanwhile, which is what bloats queues in PostgreSQL.
"""

import asyncio
import threading
import time

import asyncpg

from bench.stores import connected

_QUESTIONS = (
    "SELECT type, count(*), count(DISTINCT application), sum(length(payload)) FROM event GROUP BY type",
    "SELECT endpoint, state, count(*), avg(total_us), max(total_us) FROM attempt GROUP BY endpoint, state",
)
_PAUSE_SECONDS = 10
_SETTINGS = (
    "SET max_parallel_workers_per_gather = 0",  # one analyst takes one core at most
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
)


class Analyst:
    """Runs beside a measurement, in a thread of its own: it only waits for the server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._has_begun = threading.Event()
        self._is_over = threading.Event()
        self._rounds = 0
        self._busy_seconds = 0.0
        self._asked_at: float | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        self._has_begun.wait()
        self.figures()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def figures(self) -> dict:
        """Say how much it did. Raises SystemExit when its transaction did not last: then nothing was measured."""
        if self._failure is not None or not self._thread.is_alive():
            raise SystemExit(f"the analytics query ended before the measurement did: {self._failure!r}")
        under_way = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
        return {"analytics_rounds": self._rounds, "analytics_busy_seconds": self._busy_seconds + under_way}

    def _run(self) -> None:
        try:
            asyncio.run(self._ask_on())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._failure = error
        finally:
            self._has_begun.set()

    async def _ask_on(self) -> None:
        async with connected(self._url) as connection:
            for setting in _SETTINGS:
                await connection.execute(setting)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.fetchval("SELECT count(*) FROM delivery")  # The snapshot is taken by the first read.
                self._has_begun.set()
                asking = asyncio.create_task(self._rounds_on(connection))
                while not self._is_over.is_set() and not asking.done():
                    await asyncio.sleep(0.1)
                if asking.done():
                    asking.result()
                # A statement that is under way is cancelled: nobody waits for its end.
                asking.cancel()
                await asyncio.wait([asking])

    async def _rounds_on(self, connection: asyncpg.Connection) -> None:
        while True:
            began = self._asked_at = time.monotonic()
            for question in _QUESTIONS:
                await connection.fetch(question)
            self._asked_at = None
            self._rounds += 1
            self._busy_seconds += time.monotonic() - began
            await connection.execute(f"SELECT pg_sleep({_PAUSE_SECONDS})")
