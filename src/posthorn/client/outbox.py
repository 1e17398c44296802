"""What waits to be sent: bounded, in order, one batch at a time. No clock, no socket, no thread.

Whoever drives it takes `next`, posts the batch and settles its outcome; the instants that it passes are seconds of
one monotonic clock. An event keeps its id from the moment it is put here, whatever happens to its batch, and that id
is how the server tells a repetition from a new event.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from posthorn.client.answers import Accepted, Outcome, Oversized, Refused, TryAgain
from posthorn.client.errors import Lost, NotSentInTime, QueueFull, SendingError
from posthorn.client.options import Options

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event: its place among all that were put, its id and its JSON. `since` is when it was put."""

    number: int
    id: str
    body: bytes
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events of one request. `failing_since` is when the first try of it failed."""

    items: tuple[Item, ...]
    failing_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to send for this long; None is until something is put."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """Closed, and nothing more can be sent in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the events so far."""

    waiting: int
    delivered: int
    lost: int

    @classmethod
    def sum_of(cls, several: Iterable["Counts"]) -> "Counts":
        """Add up the counts of several lanes."""
        each = list(several)
        return cls(
            waiting=sum(one.waiting for one in each),
            delivered=sum(one.delivered for one in each),
            lost=sum(one.lost for one in each),
        )


class Outbox:
    """The queue of one lane."""

    def __init__(self, options: Options, jitter: Callable[[], float]) -> None:
        """`jitter` draws from 0 to 1, so that clients that failed together do not come back together."""
        self._options = options
        self._jitter = jitter
        self._queue: deque[Item] = deque()
        self._queued_bytes = 0
        self._again: deque[Batch] = deque()  # cut already: tried before, or halves of what was too large
        self._in_flight: Batch | None = None
        self._taken = 0
        self._held = 0
        self._held_bytes = 0
        self._delivered = 0
        self._lost = 0
        self._flush_up_to = 0
        self._failures = 0
        self._not_before = float("-inf")
        self._close_at: float | None = None

    @property
    def counts(self) -> Counts:
        """How many events wait (those in flight included), were accepted and were lost."""
        return Counts(waiting=self._held, delivered=self._delivered, lost=self._lost)

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is taken."""
        return self._close_at is not None

    def put(self, message_id: str, body: bytes, now: float) -> bool:
        """Take an event; True when the driver should look again before its wait is over. Raises QueueFull."""
        size = len(body)
        options = self._options
        if self._held >= options.queue_events or (self._held and self._held_bytes + size > options.queue_bytes):
            raise QueueFull(
                f"{self._held} events ({self._held_bytes} bytes) wait to be sent already; the server is slower "
                "than the events come, or away: raise queue_events, or drop some"
            )
        self._queue.append(Item(number=self._taken, id=message_id, body=body, since=now))
        self._taken += 1
        self._queued_bytes += size + 1
        self._held += 1
        self._held_bytes += size
        return len(self._queue) == 1 or self._is_full_batch()

    def count_refused(self) -> None:
        """Count an event that was not taken and whose caller wants no exception."""
        self._lost += 1

    def flush(self) -> int:
        """Make everything that was put so far due; return the mark that `is_settled` understands."""
        self._flush_up_to = self._taken
        return self._flush_up_to

    def is_settled(self, mark: int) -> bool:
        """Whether every event before the mark was accepted or lost."""
        oldest = self._oldest()
        return oldest is None or oldest >= mark

    def close(self, at: float) -> None:
        """Take nothing more, and hurry: what is not accepted by `at` will be lost."""
        self.flush()
        self._close_at = at if self._close_at is None else min(at, self._close_at)

    def next(self, now: float) -> Batch | Wait | Finished:
        """Return the batch to send now, which is in flight from then on, or for how long there is none."""
        wait = self._wait(now)
        if wait is None:
            self._in_flight = self._again.popleft() if self._again else self._cut()
            return self._in_flight
        if self._close_at is not None:
            # A wait beyond the deadline cannot help: say so at once instead of holding up the end of the process.
            at = self._close_at
            return Finished() if wait.seconds is None or now + wait.seconds >= at else wait
        return wait

    def settle(self, outcome: Outcome, now: float) -> tuple[Lost, ...]:
        """Take the outcome of the batch in flight; return what is lost by it."""
        batch = self._in_flight
        if batch is None:
            return ()  # abandoned meanwhile
        self._in_flight = None
        match outcome:
            case Accepted():
                self._failures = 0
                return self._done(batch, dict(outcome.faults))
            case TryAgain():
                return self._try_again(batch, outcome, now)
            case Oversized():
                return self._halve(batch, outcome)
            case Refused():
                return self._sort_out(batch, outcome)

    def put_back(self) -> None:
        """Return the batch in flight to the front: its outcome will never be known."""
        if self._in_flight is not None:
            self._again.appendleft(self._in_flight)
            self._in_flight = None

    def abandon(self) -> tuple[Lost, ...]:
        """Give up everything that is held, the batch in flight included."""
        self.put_back()
        items = [item for batch in self._again for item in batch.items] + list(self._queue)
        self._again.clear()
        self._queue.clear()
        self._queued_bytes = 0
        reason = NotSentInTime(f"{len(items)} events were not accepted before the client was closed")
        return self._lose(items, reason)

    def _oldest(self) -> int | None:
        """Return the number of the oldest event that is held: batches leave from the front and come back there."""
        batch = self._in_flight or (self._again[0] if self._again else None)
        if batch is not None:
            return batch.items[0].number
        return self._queue[0].number if self._queue else None

    def _wait(self, now: float) -> Wait | None:
        """Return how long to wait, None when something can be sent now."""
        if not self._again and not self._queue:
            return Wait(seconds=None)
        if now < self._not_before:
            return Wait(seconds=self._not_before - now)
        if self._again or self._is_full_batch() or self._queue[0].number < self._flush_up_to:
            return None
        due = self._queue[0].since + self._options.flush_after_seconds
        return Wait(seconds=due - now) if now < due else None

    def _is_full_batch(self) -> bool:
        options = self._options
        return len(self._queue) >= options.batch_events or self._queued_bytes >= options.batch_bytes

    def _cut(self) -> Batch:
        """Take as many events as one request may carry, at least one."""
        items = [self._queue.popleft()]
        size = len(items[0].body) + 1
        options = self._options
        while self._queue and len(items) < options.batch_events:
            size += len(self._queue[0].body) + 1
            if size > options.batch_bytes:
                break
            items.append(self._queue.popleft())
        self._queued_bytes -= sum(len(item.body) + 1 for item in items)
        return Batch(items=tuple(items))

    def _try_again(self, batch: Batch, outcome: TryAgain, now: float) -> tuple[Lost, ...]:
        options = self._options
        delay = min(
            options.longest_retry_seconds,
            options.first_retry_seconds * 2 ** min(self._failures, _MOST_DOUBLINGS),
        )
        delay *= 0.5 + 0.5 * self._jitter()
        # The server's wish is a lower bound; the jitter above it keeps clients apart that were told the same.
        asked = min(outcome.after_seconds, options.longest_retry_after_seconds)
        delay = max(delay, asked * (1 + 0.1 * self._jitter()))
        self._failures += 1
        self._not_before = now + delay
        since = batch.failing_since if batch.failing_since is not None else now
        give_up = options.give_up_after_seconds
        if give_up is not None and now - since >= give_up:
            return self._lose(batch.items, outcome.reason)
        self._again.appendleft(replace(batch, failing_since=since))
        return ()

    def _halve(self, batch: Batch, outcome: Oversized) -> tuple[Lost, ...]:
        if len(batch.items) == 1:
            return self._lose(batch.items, outcome.reason)
        middle = len(batch.items) // 2
        self._again.appendleft(replace(batch, items=batch.items[middle:]))
        self._again.appendleft(replace(batch, items=batch.items[:middle]))
        return ()

    def _sort_out(self, batch: Batch, outcome: Refused) -> tuple[Lost, ...]:
        """Lose the events that the server named, and send the others again without them."""
        faults = {at: reason for at, reason in outcome.faults if at < len(batch.items)}
        if not faults:
            return self._lose(batch.items, outcome.reason)
        good = tuple(item for at, item in enumerate(batch.items) if at not in faults)
        if good:
            self._again.appendleft(replace(batch, items=good))
        return tuple(lost for at, reason in faults.items() for lost in self._lose([batch.items[at]], reason))

    def _done(self, batch: Batch, faults: dict[int, SendingError]) -> tuple[Lost, ...]:
        good = [item for at, item in enumerate(batch.items) if at not in faults]
        self._delivered += len(good)
        self._let_go(good)
        bad = [(item, faults[at]) for at, item in enumerate(batch.items) if at in faults]
        return tuple(lost for item, reason in bad for lost in self._lose([item], reason))

    def _lose(self, items: Iterable[Item], reason: SendingError) -> tuple[Lost, ...]:
        gone = tuple(items)
        if not gone:
            return ()
        self._lost += len(gone)
        self._let_go(gone)
        ids = tuple(item.id for item in gone)
        return (Lost(reason=reason, message_ids=ids, bodies=tuple(item.body for item in gone)),)

    def _let_go(self, items: Iterable[Item]) -> None:
        for item in items:
            self._held -= 1
            self._held_bytes -= len(item.body)
