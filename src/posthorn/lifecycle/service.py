"""The loop that every background role inherits."""

import asyncio

from posthorn.clock import Clock, SystemClock
from posthorn.telemetry.seam import Telemetry

_FIRST_BACKOFF_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 30.0
_HEALTHY_SECONDS = 60.0


def backoff_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row: 0.1 s doubled each time, at most 30 s."""
    # The exponent is bounded too: 2.0 ** 2000 raises OverflowError.
    return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 20), _LONGEST_BACKOFF_SECONDS)


class Service:
    """A background role with one loop. A subclass implements `run_once`, or `run` when turns do not fit it.

    - `start` returns when the role runs; `stop` returns when it ended. Both may be called again, `stop` also
      before `start`, and a stopped service may start anew.
    - What the loop raises is emitted as `error.unexpected` and the loop goes on after a backoff: it never
      dies silently.
    - `stop` is cooperative: it sets `stopping`, calls `wake` and waits for the turn to end. Whoever has no
      time to wait cancels the call to `stop`, and that cancels the loop.
    """

    def __init__(self, *, name: str, telemetry: Telemetry, clock: Clock | None = None) -> None:
        self.name = name
        self._telemetry = telemetry
        self._clock: Clock = clock or SystemClock()
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def stopping(self) -> bool:
        """Whether the loop was asked to end."""
        return self._stopping.is_set()

    @property
    def running(self) -> bool:
        """Whether the loop lives."""
        return self._loop is not None and not self._loop.done()

    async def start(self) -> None:
        """Open the role and begin its loop. Whatever `open` raises comes out, after `close` was called."""
        async with self._changing:
            if self._loop is not None:
                return
            self._stopping.clear()
            try:
                await self.open()
            except BaseException:
                await self.close()
                raise
            self._loop = asyncio.get_running_loop().create_task(self._live(), name=self.name)

    async def stop(self) -> None:
        """Ask the loop to end and wait until it did and the role is closed."""
        self._stopping.set()
        async with self._changing:
            loop = self._loop
            if loop is None:
                return
            # A start that was under way when stop was called cleared the flag.
            self._stopping.set()
            self.wake()
            try:
                await asyncio.wait({loop})
            except asyncio.CancelledError:
                loop.cancel()
                raise
            finally:
                self._loop = None
            if not loop.cancelled():
                loop.result()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the service is asked to stop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def open(self) -> None:
        """Prepare before the loop begins. For subclasses."""

    async def close(self) -> None:
        """Clean up after the loop ended, or after `open` failed half-way. For subclasses."""

    def wake(self) -> None:
        """Let a turn that waits for something return. For subclasses; called once `stopping` is set."""

    async def run_once(self) -> float | None:
        """Do one turn; return the seconds until the next one, or None when there is nothing left to do."""
        raise NotImplementedError  # not abstract: a service may replace `run` as a whole

    async def run(self) -> None:
        """Do turns until asked to stop. Whatever replaces this returns soon after `stopping` is set."""
        while not self.stopping:
            seconds = await self.run_once()
            if seconds is None:
                return
            self._failures = 0
            await self.pause(seconds)

    async def _live(self) -> None:
        try:
            await self._run_through_crashes()
        finally:
            await self.close()

    async def _run_through_crashes(self) -> None:
        self._failures = 0
        while not self.stopping:
            began = self._clock.monotonic()
            try:
                await self.run()
            except asyncio.CancelledError as error:
                # A future that somebody else cancelled surfaces here too; only a cancelled loop may end.
                if _is_being_cancelled():
                    raise
                crash: BaseException = error
            except Exception as error:  # noqa: BLE001 - a dead loop is work that stands still
                crash = error
            else:
                return
            if self._clock.monotonic() - began >= _HEALTHY_SECONDS:
                self._failures = 0
            self._failures += 1
            self._telemetry.emit("error.unexpected", where=self.name, exception=crash)
            await self.pause(backoff_seconds(self._failures))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
