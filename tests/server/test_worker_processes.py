"""Workers as real processes: ready together, started again when they die, ended together, never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from posthorn.lifecycle import Supervisor, serve_until_signal
from posthorn.server.workers import run_workers
from posthorn.telemetry import Telemetry

LONG_SECONDS = 20
GRACE_SECONDS = 0.4


class Slow:
    """A service that takes its time to stop, unless it is hurried."""

    name = "slow"

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        try:
            await asyncio.sleep(GRACE_SECONDS)
        except asyncio.CancelledError:
            say("hurried")
            raise
        say("took its time")


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # in one piece, whoever else writes


class Script:
    """What the workers of one scenario do."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.telemetry.subscribe(lambda _, facts: say("error", facts["where"], facts["exception"]), "error.unexpected")

    def patient(self, number: int, ready: Callable[[], None]) -> int:
        say("worker", number, os.getpid())
        supervisor = Supervisor([Slow()], telemetry=self.telemetry, drain_seconds=LONG_SECONDS)
        asyncio.run(serve_until_signal(supervisor, telemetry=self.telemetry, on_ready=ready))
        return 0

    def second_fails_to_start(self, number: int, ready: Callable[[], None]) -> int:
        if number == 1:
            raise OSError("no luck")
        return self.patient(number, ready)

    def ends_badly(self, number: int, ready: Callable[[], None]) -> int:
        self.patient(number, ready)
        return 3

    def deaf(self, number: int, ready: Callable[[], None]) -> int:
        """Hold the signals back, so that it shows how many come."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        say("worker", number, os.getpid())
        ready()
        while True:
            say("got", signal.sigwait({signal.SIGTERM, signal.SIGINT}).name)

    def ends_at_once(self, number: int, ready: Callable[[], None]) -> int:
        ready()
        return 0

    def run(self, name: str, count: int) -> int:
        return run_workers(count, getattr(self, name), on_ready=lambda: say("all ready"), telemetry=self.telemetry)


class Parent:
    """A process that runs workers, and what they all say."""

    def __init__(self, name: str, count: int = 2) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, str(count)], stdout=subprocess.PIPE, text=True, process_group=0
        )
        self.heard: list[str] = []

    def wait_for(self, *starts: str) -> list[str]:
        """Read until a line begins with each of these, in any order; return those lines."""
        assert self.process.stdout is not None
        missing, found = list(starts), []
        while missing:
            line = self.process.stdout.readline().rstrip()
            assert line, f"{missing} never came: {self.heard}"
            self.heard.append(line)
            match = next((start for start in missing if line.startswith(start)), None)
            if match is not None:
                missing.remove(match)
                found.append(line)
        return found

    def start(self) -> list[int]:
        """Return the process ids of the workers by number, once all are ready."""
        lines = self.wait_for("worker 0", "worker 1", "all ready")
        numbered = dict(line.split()[1:] for line in lines if line.startswith("worker"))
        return [int(numbered["0"]), int(numbered["1"])]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[str]]:
        """Return the exit code and what was still said. The pipe closes when the last worker is gone too."""
        rest, _ = self.process.communicate(timeout=LONG_SECONDS)
        return self.process.returncode, rest.splitlines()


@pytest.fixture
def parent() -> Iterator[Callable[..., Parent]]:
    started: list[Parent] = []

    def start(*given: Any) -> Parent:
        started.append(Parent(*given))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.communicate()


def test_all_are_ready_and_one_signal_ends_all(parent: Callable[..., Parent]) -> None:
    running = parent("patient")
    first, second = running.start()
    assert len({running.process.pid, first, second}) == 3
    running.signal()
    assert running.end() == (0, ["took its time"] * 2)


def test_a_worker_that_is_killed_is_started_again_beside_the_others(parent: Callable[..., Parent]) -> None:
    running = parent("patient")
    first, second = running.start()
    os.kill(first, signal.SIGKILL)
    told, again = running.wait_for("error worker 0", "worker 0")
    assert told.endswith(f"process {first} was ended by SIGKILL; another one starts in 0.2 s")
    assert int(again.split()[2]) not in {first, second}
    os.kill(second, 0)
    running.signal()
    assert running.end()[0] == 0


def test_a_worker_that_ends_unasked_counts_as_dead(parent: Callable[..., Parent]) -> None:
    running = parent("patient")
    first, _ = running.start()
    os.kill(first, signal.SIGTERM)
    told, _ = running.wait_for("error worker 0", "worker 0")
    assert "ended with code 0; another one starts" in told
    running.signal(signal.SIGINT)
    assert running.end()[0] == 0


def test_everything_stops_when_a_worker_cannot_live(parent: Callable[..., Parent]) -> None:
    running = parent("second_fails_to_start")
    code, said = running.end()
    assert code == 1
    assert said.count("error worker 1 no luck") == 5
    assert [line for line in said if "again and again" in line]
    assert said[-1] == "took its time"  # the other one was ended as always
    assert "all ready" not in said


def test_the_second_start_waits_longer_than_the_first(parent: Callable[..., Parent]) -> None:
    running = parent("ends_at_once", 1)
    code, said = running.end()
    assert code == 1
    waits = [line.rsplit("in ", 1)[1] for line in said if "another one" in line]
    assert waits == ["0.2 s", "0.4 s", "0.8 s", "1.6 s"]


def test_a_signal_to_the_whole_group_counts_once(parent: Callable[..., Parent]) -> None:
    running = parent("patient")
    running.start()
    os.killpg(running.process.pid, signal.SIGINT)  # what a terminal does
    assert running.end() == (0, ["took its time"] * 2)


def test_a_second_signal_hurries_all(parent: Callable[..., Parent]) -> None:
    running = parent("deaf")
    workers = running.start()
    running.signal()
    running.wait_for("got SIGTERM", "got SIGTERM")
    running.signal(signal.SIGINT)
    running.wait_for("got SIGTERM", "got SIGTERM")
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    assert running.end()[0] == 1


def test_a_worker_that_ends_badly_shows_in_the_exit_code(parent: Callable[..., Parent]) -> None:
    running = parent("ends_badly")
    running.start()
    running.signal()
    code, said = running.end()
    assert code == 1
    assert any("ended with code 3 while it was to stop" in line for line in said)


def test_workers_end_in_order_when_their_parent_is_killed(parent: Callable[..., Parent]) -> None:
    running = parent("patient")
    running.start()
    running.signal(signal.SIGKILL)
    assert running.end() == (-signal.SIGKILL, ["took its time"] * 2)


def test_a_process_with_threads_is_refused() -> None:
    enough = threading.Event()
    thread = threading.Thread(target=enough.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads"):
            run_workers(1, Script().patient, on_ready=lambda: None, telemetry=Telemetry())
    finally:
        enough.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(Script().run(sys.argv[1], int(sys.argv[2])))
