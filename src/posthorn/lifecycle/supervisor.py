"""Starts services in order, stops them in reverse within a total time, on a signal or on request."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from posthorn.telemetry.seam import Telemetry

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_RESERVED_SHARE = 0.25


class Startable(Protocol):
    """What a supervisor needs to know of a service."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    async def start(self) -> None:
        """Return when it runs."""
        ...

    async def stop(self) -> None:
        """Return when it ended; being cancelled means to end at once."""
        ...


class Supervisor:
    """Owns the order of services: later ones may lean on earlier ones, so they stop first.

    All methods belong to the event loop's thread.
    """

    def __init__(self, services: Sequence[Startable], *, telemetry: Telemetry, drain_seconds: float) -> None:
        self._services = services
        self._telemetry = telemetry
        self._drain_seconds = drain_seconds
        self._started: list[Startable] = []
        self._deadline: float | None = None
        self._hurried = False
        self._patience: asyncio.Timeout | None = None
        self._reason: str | None = None
        self._asked = asyncio.Event()

    @property
    def asked_to_stop(self) -> bool:
        """Whether the shutdown was requested."""
        return self._asked.is_set()

    async def start(self) -> None:
        """Start all in order. When one fails or the call is cancelled, stop those that run, then raise."""
        try:
            for service in self._services[len(self._started) :]:
                await service.start()
                self._started.append(service)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop all in reverse within `drain_seconds`; cancel what hangs, report what fails.

        A quarter of the time is kept for the services that are still to stop, so that one that hangs does not
        take the store's last commit with it.
        """
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._drain_seconds
        while self._started:
            await self._stop_in_time(self._started.pop(), others=len(self._started))

    def request_stop(self, reason: str) -> None:
        """Ask for the shutdown from inside; the first reason counts."""
        if self._reason is None:
            self._reason = reason
        self._asked.set()

    def hurry(self) -> None:
        """Cut the shutdown short: what is still to stop gets cancelled."""
        now = asyncio.get_running_loop().time()
        self._deadline = now
        self._hurried = True
        if self._patience is not None:
            self._patience.reschedule(now)

    async def wait(self) -> str:
        """Return the reason once a stop was requested."""
        await self._asked.wait()
        return self._reason or ""

    async def _stop_in_time(self, service: Startable, *, others: int) -> None:
        now = asyncio.get_running_loop().time()
        deadline = now if self._deadline is None else self._deadline
        left = max(deadline - now, 0.0)
        kept = min(self._drain_seconds * _RESERVED_SHARE, left) if others else 0.0
        try:
            async with asyncio.timeout(max(left - kept, kept / (others + 1))) as self._patience:
                await service.stop()
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            if self._hurried and isinstance(error, TimeoutError):
                return
            self._telemetry.emit("error.unexpected", where=f"stop of {service.name}", exception=error)
        finally:
            self._patience = None


async def serve_until_signal(
    supervisor: Supervisor, *, telemetry: Telemetry, on_ready: Callable[[], None] | None = None
) -> None:
    """Start everything, call `on_ready`, stop everything at SIGTERM, SIGINT or `supervisor.request_stop`.

    A signal during the start ends the start; a second one cuts the shutdown short. Raises what a service's
    start or `on_ready` raised. Emits `server.stopping` and `server.stopped`. Outside the main thread, where Python
    delivers no signals, only `request_stop` ends it.
    """
    loop = asyncio.get_running_loop()
    starting = loop.create_task(supervisor.start())

    def on_signal(number: signal.Signals) -> None:
        if supervisor.asked_to_stop:
            supervisor.hurry()
        supervisor.request_stop(number.name)
        starting.cancel()

    with _signals_handled(loop, on_signal):
        try:
            await starting
        except asyncio.CancelledError:
            if not supervisor.asked_to_stop:
                raise
        await _run_until_asked(supervisor, telemetry, on_ready)


async def _run_until_asked(supervisor: Supervisor, telemetry: Telemetry, on_ready: Callable[[], None] | None) -> None:
    reason = "failure"
    try:
        if on_ready is not None and not supervisor.asked_to_stop:
            on_ready()
        reason = await supervisor.wait()
    finally:
        loop = asyncio.get_running_loop()
        began = loop.time()
        telemetry.emit("server.stopping", reason=reason)
        await supervisor.stop()
        telemetry.emit("server.stopped", seconds=loop.time() - began)


@contextlib.contextmanager
def _signals_handled(loop: asyncio.AbstractEventLoop, on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
