"""One loop: start, turns, crashes, stop."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from posthorn.lifecycle import Service, backoff_seconds
from posthorn.telemetry import Telemetry


class Recorder(Service):
    """Notes what happens to it; `turn` decides what each turn does."""

    def __init__(self, turn: Callable[["Recorder"], Any], telemetry: Telemetry | None = None) -> None:
        super().__init__(name="recorder", telemetry=telemetry or Telemetry(strict=True))
        self._turn = turn
        self.events: list[str] = []
        self.turns = 0
        self.reached = asyncio.Event()
        self.closed = asyncio.Event()

    async def open(self) -> None:
        self.events.append("open")

    async def close(self) -> None:
        self.events.append("close")
        self.closed.set()

    def wake(self) -> None:
        self.events.append("wake")

    async def run_once(self) -> float | None:
        self.turns += 1
        result = self._turn(self)
        return await result if asyncio.iscoroutine(result) else result


def errors_of(telemetry: Telemetry) -> list[dict[str, Any]]:
    errors: list[dict[str, Any]] = []
    telemetry.subscribe(lambda _name, facts: errors.append(dict(facts)), "error.unexpected")
    return errors


def third_turn_is_reached(service: Recorder) -> float:
    if service.turns == 3:
        service.reached.set()
    return 0 if service.turns < 3 else 3600


async def test_a_started_service_takes_turns_until_it_is_stopped() -> None:
    service = Recorder(third_turn_is_reached)
    await service.start()
    assert service.running
    await service.reached.wait()
    await service.stop()
    assert (service.turns, service.running) == (3, False)
    assert service.events == ["open", "wake", "close"]


async def test_start_and_stop_are_idempotent() -> None:
    service = Recorder(third_turn_is_reached)
    await asyncio.gather(service.start(), service.start())
    await service.start()
    await asyncio.gather(service.stop(), service.stop())
    await service.stop()
    assert service.events == ["open", "wake", "close"]


async def test_a_service_may_be_stopped_before_it_was_started_and_start_after() -> None:
    service = Recorder(third_turn_is_reached)
    await service.stop()
    await service.start()
    await service.reached.wait()
    assert service.running
    await service.stop()


async def test_a_stopped_service_starts_anew() -> None:
    service = Recorder(lambda each: each.reached.set() or 3600)
    for _ in range(2):
        service.reached.clear()
        await service.start()
        await service.reached.wait()
        await service.stop()
    assert service.events == ["open", "wake", "close"] * 2


async def test_stop_waits_for_the_turn_that_is_under_way() -> None:
    finish = asyncio.Event()

    async def turn(service: Recorder) -> float:
        service.reached.set()
        await finish.wait()
        service.events.append("turn done")
        return 3600

    service = Recorder(turn)
    await service.start()
    await service.reached.wait()
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    finish.set()
    await stopping
    assert service.events == ["open", "wake", "turn done", "close"]


async def test_cancelling_stop_cancels_a_turn_that_hangs() -> None:
    async def hang(service: Recorder) -> float:
        service.reached.set()
        await asyncio.Event().wait()
        return 0

    service = Recorder(hang)
    await service.start()
    await service.reached.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await service.stop()
    await service.closed.wait()


async def test_a_service_with_nothing_left_to_do_ends_by_itself() -> None:
    service = Recorder(lambda _service: None)
    await service.start()
    await service.closed.wait()
    assert service.events == ["open", "close"]
    await service.stop()


async def test_a_crash_is_reported_and_the_loop_goes_on() -> None:
    telemetry = Telemetry(strict=True)
    errors = errors_of(telemetry)

    def crash_once(service: Recorder) -> float:
        if service.turns == 1:
            raise RuntimeError("surprise")
        service.reached.set()
        return 3600

    service = Recorder(crash_once, telemetry)
    await service.start()
    await service.reached.wait()
    await service.stop()
    assert [(error["where"], str(error["exception"])) for error in errors] == [("recorder", "surprise")]


async def test_a_cancelled_future_of_somebody_else_does_not_end_the_loop() -> None:
    telemetry = Telemetry(strict=True)
    errors = errors_of(telemetry)

    async def meet_cancelled_future(service: Recorder) -> float:
        if service.turns == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        service.reached.set()
        return 3600

    service = Recorder(meet_cancelled_future, telemetry)
    await service.start()
    await service.reached.wait()
    await service.stop()
    assert [type(error["exception"]) for error in errors] == [asyncio.CancelledError]


async def test_stop_cuts_the_backoff_short() -> None:
    telemetry = Telemetry(strict=True)
    crashed = asyncio.Event()
    telemetry.subscribe(lambda _name, _facts: crashed.set(), "error.unexpected")

    def crash(_service: Recorder) -> float:
        raise RuntimeError("always")

    service = Recorder(crash, telemetry)
    service._failures = 50
    await service.start()
    await crashed.wait()
    async with asyncio.timeout(5):
        await service.stop()
    assert service.turns == 1


async def test_what_open_raises_comes_out_of_start_and_the_service_is_closed() -> None:
    class Broken(Recorder):
        async def open(self) -> None:
            raise OSError("no such port")

    service = Broken(third_turn_is_reached)
    with pytest.raises(OSError, match="no such port"):
        await service.start()
    assert (service.events, service.running) == (["close"], False)


async def test_what_close_raises_comes_out_of_stop() -> None:
    class Broken(Recorder):
        async def close(self) -> None:
            raise OSError("disk full")

    service = Broken(third_turn_is_reached)
    await service.start()
    with pytest.raises(OSError, match="disk full"):
        await service.stop()
    await service.stop()


async def test_a_service_may_bring_its_own_loop() -> None:
    class Owner(Recorder):
        async def run(self) -> None:
            while not self.stopping:
                self.reached.set()
                await self.pause(3600)

    service = Owner(third_turn_is_reached)
    await service.start()
    await service.reached.wait()
    await service.stop()
    assert service.turns == 0


def test_backoff_doubles_up_to_half_a_minute() -> None:
    assert [backoff_seconds(failures) for failures in (1, 2, 3, 9)] == [0.1, 0.2, 0.4, 25.6]
    assert backoff_seconds(10) == backoff_seconds(10_000) == 30.0
