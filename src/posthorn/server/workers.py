"""Several processes that serve on one machine: forked here, watched, started again when one dies, ended together.

The process that forks does nothing else: it has no event loop and no thread, so that forking stays safe for as long as
it lives.
"""

import contextlib
import gc
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, Self

from posthorn.telemetry import Telemetry

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT)  # a worker that had not begun has no handler for the signal
_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 5.0
_HEALTHY_SECONDS = 60.0
_EARLY_SECONDS = 10.0
_MOST_EARLY_ENDS = 5
_FORWARD_SECONDS = 0.1
_READY, _STOPPING = b"r", b"s"


class Work(Protocol):
    """What a worker does, in a process of its own."""

    def __call__(self, number: int, ready: Callable[[], None]) -> int:
        """Serve as worker `number` (from 0) until SIGTERM or SIGINT and return the exit code; call `ready` once."""
        ...


class WorkerEnded(Exception):
    """A worker ended that was not asked to, or not as it should."""


def run_workers(count: int, work: Work, *, on_ready: Callable[[], None], telemetry: Telemetry) -> int:
    """Fork `count` workers and run until SIGTERM or SIGINT. Return 0 when all ended well, else 1.

    `on_ready` is called here once all workers are ready. A worker that dies is started again after 0.2 s to 5 s; when
    one ends 5 times in a row within 10 s of its start, all are ended. A signal is handed on to the workers that did not
    get it themselves (a terminal and systemd signal all processes at once): `telemetry`'s server.stopping tells. A
    second signal is handed on to all. When this process dies, the workers end as if it had handed on SIGTERM.

    Must be called in the main thread of a process without other threads, before it has an event loop; raises
    RuntimeError when it has threads. Reports ends as error.unexpected.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads must not fork: a lock that one of them holds stays locked for ever")
    gc.collect()
    gc.freeze()  # what is never looked at by the collector is never copied for a worker either
    with _signals_noted() as noted, _Workers(count, work, telemetry, noted) as workers:
        return workers.run(on_ready)


class _Worker:
    """One worker's number, and the process that is it at present."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.reports = -1  #: the end of the pipe on which it reports
        self.began = 0.0
        self.is_ready = False
        self.is_stopping = False
        self.again_at: float | None = None
        self._ends = 0
        self._early_ends = 0

    @property
    def is_alive(self) -> bool:
        return self.pid != 0

    def started(self, pid: int, reports: int) -> None:
        self.pid, self.reports, self.began = pid, reports, time.monotonic()
        self.is_ready = self.is_stopping = False
        self.again_at = None

    def hear(self) -> bool:
        """Read what it reports; False when it ended."""
        heard = os.read(self.reports, 64)
        self.is_ready |= _READY in heard
        self.is_stopping |= _STOPPING in heard
        return bool(heard)

    def reap(self) -> int:
        """Take note of its end and return its exit code, negative for a signal's number."""
        os.close(self.reports)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        self.is_ready = False
        return os.waitstatus_to_exitcode(status)

    def backoff_seconds(self) -> float | None:
        """Return how long to wait before it is started again, None when that would lead nowhere."""
        lived = time.monotonic() - self.began
        self._early_ends = self._early_ends + 1 if lived < _EARLY_SECONDS else 0
        self._ends = self._ends + 1 if lived < _HEALTHY_SECONDS else 1
        if self._early_ends >= _MOST_EARLY_ENDS:
            return None
        return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(self._ends - 1, 10), _LONGEST_BACKOFF_SECONDS)


class _Workers:
    """All workers, and the loop that watches them."""

    def __init__(self, count: int, work: Work, telemetry: Telemetry, noted: int) -> None:
        self._work = work
        self._telemetry = telemetry
        self._noted = noted
        self._workers = [_Worker(number) for number in range(count)]
        # Nothing is ever written to it: the workers read its end when this process is gone.
        self._watched, self._lifeline = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(noted, selectors.EVENT_READ)
        self._is_stopping = False
        self._forward_at: float | None = None
        self._code = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End whoever still lives and wait for it."""
        os.close(self._lifeline)
        for worker in self._workers:
            if worker.is_alive:
                worker.reap()
        self._selector.close()
        os.close(self._watched)

    def run(self, on_ready: Callable[[], None]) -> int:
        """Start them and watch until all ended."""
        for worker in self._workers:
            self._start(worker)
        was_ready = False
        while any(worker.is_alive or worker.again_at is not None for worker in self._workers):
            for key, _ in self._selector.select(self._patience_seconds()):
                if key.data is None:
                    self._read_signals()
                else:
                    self._listen_to(key.data)
            self._do_what_is_due()
            if not was_ready and not self._is_stopping and all(worker.is_ready for worker in self._workers):
                was_ready = True
                on_ready()
        return self._code

    def _start(self, worker: _Worker) -> None:
        reports, reporting = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes before the child has its own handlers must wait: its copy of ours would swallow it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(worker.number, reports, reporting)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(reporting)
        worker.started(pid, reports)
        self._selector.register(reports, selectors.EVENT_READ, worker)

    def _become(self, number: int, reports: int, reporting: int) -> None:
        """Be the worker, in the child, and never return."""
        code = 1
        try:
            self._let_go_of_what_is_the_parents(reports)
            _end_with_the_parent(self._watched)
            self._telemetry.subscribe(lambda *_: _report(reporting, _STOPPING), "server.stopping")
            code = self._work(number, lambda: _report(reporting, _READY))
        except BaseException as error:  # noqa: BLE001 - nothing may come out into the parent's code
            self._telemetry.emit("error.unexpected", where=f"worker {number}", exception=error)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _let_go_of_what_is_the_parents(self, reports: int) -> None:
        os.close(signal.set_wakeup_fd(-1))
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._selector.close()
        for descriptor in (self._noted, self._lifeline, reports):
            os.close(descriptor)
        for worker in self._workers:
            if worker.is_alive:
                os.close(worker.reports)

    def _read_signals(self) -> None:
        for number in os.read(self._noted, 64):
            if number not in _SIGNALS:
                continue
            if self._is_stopping:
                self._signal_all()
            else:
                self._begin_to_stop(wait_seconds=_FORWARD_SECONDS)

    def _listen_to(self, worker: _Worker) -> None:
        if worker.hear():
            return
        self._selector.unregister(worker.reports)
        pid = worker.pid
        code = worker.reap()
        if self._is_stopping:
            if code not in _ENDED_WELL:
                self._code = 1
                self._tell(worker, f"{_ending(pid, code)} while it was to stop")
            return
        backoff = worker.backoff_seconds()
        if backoff is None:
            self._code = 1
            self._tell(worker, f"{_ending(pid, code)} again and again right after its start; everything stops")
            self._begin_to_stop(wait_seconds=0)
            return
        self._tell(worker, f"{_ending(pid, code)}; another one starts in {backoff:g} s")
        worker.again_at = time.monotonic() + backoff

    def _begin_to_stop(self, *, wait_seconds: float) -> None:
        self._is_stopping = True
        self._forward_at = time.monotonic() + wait_seconds
        for worker in self._workers:
            worker.again_at = None

    def _patience_seconds(self) -> float | None:
        moments = [worker.again_at for worker in self._workers] + [self._forward_at]
        first = min((moment for moment in moments if moment is not None), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._forward_at is not None and now >= self._forward_at:
            self._forward_at = None
            self._signal_all(but_stopping=True)
        for worker in self._workers:
            if worker.again_at is not None and now >= worker.again_at:
                self._start(worker)

    def _signal_all(self, *, but_stopping: bool = False) -> None:
        for worker in self._workers:
            if worker.is_alive and not (but_stopping and worker.is_stopping):
                os.kill(worker.pid, signal.SIGTERM)  # not yet waited for, so the number is still its own

    def _tell(self, worker: _Worker, what: str) -> None:
        self._telemetry.emit("error.unexpected", where=f"worker {worker.number}", exception=WorkerEnded(what))


def _ending(pid: int, code: int) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"process {pid} {how}"


def _report(descriptor: int, what: bytes) -> None:
    with contextlib.suppress(OSError):  # the parent is gone; the lifeline tells
        os.write(descriptor, what)


def _end_with_the_parent(watched: int) -> None:
    """Send this process SIGTERM when the parent is gone, however it went."""

    def watch() -> None:
        os.read(watched, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="posthorn-lifeline", daemon=True).start()


@contextlib.contextmanager
def _signals_noted() -> Iterator[int]:
    """Write the numbers of signals to a pipe, whose other end is returned, and do nothing else about them."""
    noted, noting = os.pipe()
    os.set_blocking(noting, False)
    former_descriptor = signal.set_wakeup_fd(noting)
    former = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_descriptor)
        os.close(noting)
        os.close(noted)
