"""The client for asyncio."""

import asyncio
import random
import time
from types import TracebackType
from typing import Self

from posthorn.client import leaving, losses
from posthorn.client.calls import Calls
from posthorn.client.errors import ClientClosed, InvalidCall, Lost, QueueFull
from posthorn.client.lanes import Lane, LaneName
from posthorn.client.losses import OnLost
from posthorn.client.opening import lanes_of
from posthorn.client.options import Options
from posthorn.client.outbox import Counts, Finished, Outbox, Wait
from posthorn.client.posting import AsyncPoster, BlockingPoster

_FLUSH_SECONDS = 30.0
#: A loop holds its tasks weakly; these are held until they end.
_running: set[asyncio.Task[None]] = set()


class _Courier:
    """Carries the events of one lane from a task that starts with the first of them in a loop."""

    def __init__(self, lane: Lane, options: Options, on_lost: OnLost | None) -> None:
        self._lane = lane
        self._options = options
        self._on_lost = on_lost
        self._begin(self._new_poster())
        leaving.watch(self)

    def _begin(self, poster: AsyncPoster | None) -> None:
        self._outbox = Outbox(self._options, random.random)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._poster = poster
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._deadline = 0.0

    def put(self, message_id: str, body: bytes) -> None:
        if self._outbox.is_closing:
            raise ClientClosed("the client is closed; make another")
        loop = _running_loop()
        try:
            wake = self._outbox.put(message_id, body, time.monotonic())
        except QueueFull as error:
            if self._options.raise_when_full:
                raise
            self._outbox.count_refused()
            losses.tell(self._on_lost, [Lost(reason=error, message_ids=(message_id,), bodies=(body,))])
            return
        self._ensure_task(loop)
        if wake:
            self._wake.set()

    def begin_flush(self) -> int:
        mark = self._outbox.flush()
        self._resume()
        return mark

    async def finish_flush(self, mark: int, deadline: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                while not self._outbox.is_settled(mark):
                    await self._settled.wait()
        except TimeoutError:
            return self._outbox.is_settled(mark)
        return True

    def counts(self) -> Counts:
        return self._outbox.counts

    def begin_close(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._outbox.close(self._deadline)
        self._resume()

    async def finish_close(self) -> None:
        task = self._task
        ours = self._loop is asyncio.get_running_loop() and task is not asyncio.current_task()
        if task is not None and ours:
            await asyncio.wait([task], timeout=max(0.0, self._deadline - time.monotonic()))
            task.cancel()
            await asyncio.wait([task])
        self._abandon()

    def begin_leaving(self) -> None:
        self._deadline = time.monotonic() + self._options.close_seconds
        self._outbox.put_back()  # whatever was in flight, its loop is gone
        self._outbox.close(self._deadline)

    def finish_leaving(self) -> None:
        if self._outbox.counts.waiting:
            with BlockingPoster(self._lane, request_seconds=self._options.request_seconds) as poster:
                drain = leaving.Drain(self._outbox, poster, self._deadline)
                while (outcome := drain.next_outcome()) is not None:
                    losses.tell(self._on_lost, self._outbox.settle(outcome, time.monotonic()))
        self._abandon()

    def after_fork(self) -> None:
        was_closing = self._outbox.is_closing
        self._begin(None)
        if was_closing:
            self._outbox.close(0.0)

    def _abandon(self) -> None:
        lost = self._outbox.abandon()
        self._announce()
        losses.tell(self._on_lost, lost)

    def _resume(self) -> None:
        """Wake the task; start one when events wait that a loop before this one left behind."""
        if self._outbox.counts.waiting:
            self._ensure_task(_running_loop())
        self._wake.set()

    def _ensure_task(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._task is not None and self._loop is loop and not self._task.done():
            return
        self._outbox.put_back()  # a loop that was stopped never ends its tasks
        poster = self._poster or self._new_poster()
        self._poster = None  # its connections belong to one loop
        self._loop = loop
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._task = loop.create_task(self._run(poster), name=f"posthorn-{self._lane.name}")
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)

    def _new_poster(self) -> AsyncPoster:
        return AsyncPoster(self._lane, request_seconds=self._options.request_seconds)

    async def _run(self, poster: AsyncPoster) -> None:
        async with poster:
            while not isinstance(step := self._outbox.next(time.monotonic()), Finished):
                if isinstance(step, Wait):
                    await self._sleep(step.seconds)
                    continue
                try:
                    outcome = await poster.post(step)
                except asyncio.CancelledError:
                    self._outbox.put_back()
                    raise
                lost = self._outbox.settle(outcome, time.monotonic())
                self._announce()
                losses.tell(self._on_lost, lost)

    async def _sleep(self, seconds: float | None) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _announce(self) -> None:
        """Let everyone who waits for something to settle look again."""
        self._settled.set()
        self._settled = asyncio.Event()


class AsyncClient(Calls):
    """Sends events from a task: the calls queue and return at once, so they are not awaited.

        async with AsyncClient("https://posthorn.example.com", write_key="…") as client:
            client.track("Order Paid", user_id="u1", properties={"total": 12.5})
            await client.flush()

    Arguments are those of `Client`. It belongs to the thread of its loop. What a loop leaves behind when it ends is
    sent by the next loop that uses the client, or else when the process ends.
    """

    def __init__(
        self,
        url: str,
        *,
        write_key: str | None = None,
        api_key: str | None = None,
        on_lost: OnLost | None = None,
        options: Options | None = None,
    ) -> None:
        options = options or Options()
        lanes = lanes_of(url, write_key=write_key, api_key=api_key, options=options)
        super().__init__(lanes, largest_event_bytes=options.largest_event_bytes)
        self._close_seconds = options.close_seconds
        self._couriers = {name: _Courier(lane, options, on_lost) for name, lane in lanes.items()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def counts(self) -> Counts:
        """How many events wait, were accepted and were lost since the client was made, or since the fork."""
        return Counts.sum_of(courier.counts() for courier in self._couriers.values())

    async def flush(self, timeout_seconds: float = _FLUSH_SECONDS) -> bool:
        """Send now. True when every event queued before was accepted or reported as lost, False when time ran out.

        Waits between retries are kept, so a server that is away makes it False.
        """
        deadline = time.monotonic() + timeout_seconds
        marks = [(courier, courier.begin_flush()) for courier in self._couriers.values()]
        return all([await courier.finish_flush(mark, deadline) for courier, mark in marks])

    async def close(self, timeout_seconds: float | None = None) -> None:
        """Send what waits for at most `timeout_seconds` (by default `Options.close_seconds`); report the rest as lost.

        Calls after it raise ClientClosed. Closing again does nothing.
        """
        seconds = self._close_seconds if timeout_seconds is None else timeout_seconds
        for courier in self._couriers.values():
            courier.begin_close(seconds)
        for courier in self._couriers.values():
            await courier.finish_close()

    def _put(self, lane: LaneName, message_id: str, body: bytes) -> None:
        self._couriers[lane].put(message_id, body)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidCall("an AsyncClient works inside a running event loop; Client is for threads") from None
