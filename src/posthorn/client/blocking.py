"""The client for threads."""

import random
import threading
import time
import weakref
from types import TracebackType
from typing import Self

from posthorn.client import leaving, losses
from posthorn.client.answers import Outcome
from posthorn.client.calls import Calls
from posthorn.client.errors import ClientClosed, Lost, QueueFull
from posthorn.client.lanes import Lane, LaneName
from posthorn.client.losses import OnLost
from posthorn.client.opening import lanes_of
from posthorn.client.options import Options
from posthorn.client.outbox import Batch, Counts, Finished, Outbox
from posthorn.client.posting import BlockingPoster

_LONGEST_WAIT_SECONDS = 3_600.0  # a condition's wait has a limit; waking up once an hour costs nothing
_LEAST_SECONDS = 0.1
_FLUSH_SECONDS = 30.0


class _Courier:
    """Carries the events of one lane from a thread that starts with the first of them."""

    def __init__(self, lane: Lane, options: Options, on_lost: OnLost | None) -> None:
        self._lane = lane
        self._options = options
        self._on_lost = on_lost
        self._begin(self._new_poster())
        leaving.watch(self)

    def _begin(self, poster: BlockingPoster | None) -> None:
        # The condition's lock may be taken again by its holder, so that a signal handler can track.
        self._changed = threading.Condition()
        self._outbox = Outbox(self._options, random.random)
        self._thread: threading.Thread | None = None
        self._poster = poster
        self._deadline: float | None = None

    def put(self, message_id: str, body: bytes) -> None:
        with self._changed:
            if self._outbox.is_closing:
                raise ClientClosed("the client is closed; make another")
            try:
                wake = self._outbox.put(message_id, body, time.monotonic())
            except QueueFull as error:
                if self._options.raise_when_full:
                    raise
                self._outbox.count_refused()
                refused = Lost(reason=error, message_ids=(message_id,), bodies=(body,))
            else:
                self._ensure_thread()
                if wake:
                    self._changed.notify_all()
                return
        losses.tell(self._on_lost, [refused])

    def begin_flush(self) -> int:
        with self._changed:
            mark = self._outbox.flush()
            self._changed.notify_all()
            return mark

    def finish_flush(self, mark: int, deadline: float) -> bool:
        with self._changed:
            left = max(0.0, deadline - time.monotonic())
            return self._changed.wait_for(lambda: self._outbox.is_settled(mark), min(left, _LONGEST_WAIT_SECONDS))

    def counts(self) -> Counts:
        with self._changed:
            return self._outbox.counts

    def begin_leaving(self) -> None:
        self.begin_close(self._options.close_seconds)

    def finish_leaving(self) -> None:
        self.finish_close()

    def begin_close(self, seconds: float) -> None:
        with self._changed:
            at = time.monotonic() + seconds
            self._deadline = at if self._deadline is None else min(at, self._deadline)
            self._outbox.close(self._deadline)
            self._changed.notify_all()

    def finish_close(self) -> None:
        thread = self._thread
        if thread is None or not thread.is_alive():
            if self._outbox.counts.waiting:
                self._run()  # there was no thread to be had, as when the interpreter is ending
        elif thread is not threading.current_thread():
            thread.join(max(0.0, (self._deadline or 0.0) - time.monotonic()))
        with self._changed:
            lost = self._outbox.abandon()
            self._changed.notify_all()
        losses.tell(self._on_lost, lost)

    def after_fork(self) -> None:
        was_closing = self._outbox.is_closing
        self._begin(None)
        if was_closing:
            self.begin_close(0.0)

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            if self._poster is None:
                self._poster = self._new_poster()
            self._thread = threading.Thread(target=self._run, name=f"posthorn-{self._lane.name}", daemon=True)
            self._thread.start()

    def _new_poster(self) -> BlockingPoster:
        return BlockingPoster(self._lane, request_seconds=self._options.request_seconds)

    def _run(self) -> None:
        poster, self._poster = self._poster or self._new_poster(), None
        with poster:
            while (batch := self._next()) is not None:
                self._settle(poster.post(batch, within_seconds=self._seconds_left()))

    def _next(self) -> Batch | None:
        """Wait for the next batch; None when there will be none."""
        with self._changed:
            while True:
                step = self._outbox.next(time.monotonic())
                if isinstance(step, Batch):
                    return step
                if isinstance(step, Finished):
                    return None
                self._changed.wait(None if step.seconds is None else min(step.seconds, _LONGEST_WAIT_SECONDS))

    def _settle(self, outcome: Outcome) -> None:
        with self._changed:
            lost = self._outbox.settle(outcome, time.monotonic())
            self._changed.notify_all()
        losses.tell(self._on_lost, lost)

    def _seconds_left(self) -> float | None:
        deadline = self._deadline
        return None if deadline is None else max(_LEAST_SECONDS, deadline - time.monotonic())


class Client(Calls):
    """Sends events from a thread of its own: calls queue and return, and are safe from any thread.

        with Client("https://posthorn.example.com", write_key="…") as client:
            client.track("Order Paid", user_id="u1", properties={"total": 12.5})

    `url` is the private door. `write_key` is for the tracking calls, `api_key` for `publish`; at least one is needed.
    `on_lost` hears of every event that will not arrive, from the sending thread; without it the log does. A process
    that forks keeps its queue in the parent, and the child begins with an empty one. A process that ends sends what
    waits first, for `close_seconds` at most. Raises InvalidCall when an argument cannot be right.
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
        # Who forgets to close a client keeps its events: they are sent, and then its threads end.
        weakref.finalize(self, _let_go, tuple(self._couriers.values())).atexit = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """How many events wait, were accepted and were lost since the client was made, or since the fork."""
        return Counts.sum_of(courier.counts() for courier in self._couriers.values())

    def flush(self, timeout_seconds: float = _FLUSH_SECONDS) -> bool:
        """Send now. True when every event queued before was accepted or reported as lost, False when time ran out.

        Waits between retries are kept, so a server that is away makes it False.
        """
        deadline = time.monotonic() + timeout_seconds
        marks = [(courier, courier.begin_flush()) for courier in self._couriers.values()]
        return all(courier.finish_flush(mark, deadline) for courier, mark in marks)

    def close(self, timeout_seconds: float | None = None) -> None:
        """Send what waits for at most `timeout_seconds` (by default `Options.close_seconds`); report the rest as lost.

        Calls after it raise ClientClosed. Closing again does nothing.
        """
        seconds = self._close_seconds if timeout_seconds is None else timeout_seconds
        for courier in self._couriers.values():
            courier.begin_close(seconds)
        for courier in self._couriers.values():
            courier.finish_close()

    def _put(self, lane: LaneName, message_id: str, body: bytes) -> None:
        self._couriers[lane].put(message_id, body)


def _let_go(couriers: tuple[_Courier, ...]) -> None:
    for courier in couriers:
        courier.begin_leaving()
