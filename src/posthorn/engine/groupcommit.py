"""Group commit: callers that arrive within a few milliseconds share one commit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from posthorn.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Collects items for up to `linger_seconds` or `most` of them, commits them together, tells each caller its result.

    While one batch commits the next one gathers, so under load a batch grows to what a commit takes. More than
    `backlog` waiting items are refused with `Overloaded`: memory must not grow with the store's trouble.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        linger_seconds: float,
        most: int,
        backlog: int,
        lanes: int = 1,
    ) -> None:
        self._commit = commit
        self._linger_seconds = linger_seconds
        self._most = most
        self._backlog = backlog
        self._lanes = lanes
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many items wait for a batch."""
        return len(self._waiting)

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Hand in an item; the future resolves once its batch is durable, or raises what the commit raised."""
        if len(self._waiting) >= self._backlog:
            raise Overloaded(f"more than {self._backlog} events wait for the store; send again a little later")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if len(self._waiting) >= self._most:
            self._flush()
        elif self._timer is None and len(self._running) < self._lanes:
            self._timer = loop.call_later(self._linger_seconds, self._flush)
        return future

    async def drain(self) -> None:
        """Commit what waits and return when nothing is left."""
        while self._waiting or self._running:
            self._flush()
            await asyncio.wait(self._running)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._running) < self._lanes:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._commit([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers who wait for it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        finally:
            for _, future in batch:  # only a cancelled commit leaves any
                future.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._flush()
