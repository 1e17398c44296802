"""Order of start and stop, the total time, and signals."""

import asyncio
import os
import signal
import threading
from typing import Any

import pytest

from posthorn.lifecycle import Supervisor, serve_until_signal
from posthorn.telemetry import Telemetry


class Step:
    """A service that notes what happens to it, and may hang or fail."""

    def __init__(self, name: str, log: list[str], *, hangs: str = "", fails: str = "") -> None:
        self.name = name
        self._log = log
        self.hanging = asyncio.Event()
        self._hangs = hangs
        self._fails = fails

    async def start(self) -> None:
        await self._do("start")

    async def stop(self) -> None:
        await self._do("stop")

    async def _do(self, what: str) -> None:
        self._log.append(f"{what} {self.name}")
        if self._fails == what:
            raise OSError(f"{self.name} is broken")
        if self._hangs == what:
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self._log.append(f"cancelled {self.name}")
                raise


def world(*steps: Step, drain_seconds: float = 30.0) -> tuple[Supervisor, Telemetry, list[dict[str, Any]]]:
    telemetry = Telemetry(strict=True)
    heard: list[dict[str, Any]] = []
    telemetry.subscribe(lambda name, facts: heard.append({"signal": name, **facts}))
    return Supervisor(steps, telemetry=telemetry, drain_seconds=drain_seconds), telemetry, heard


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    supervisor, _, _ = world(Step("store", log), Step("server", log))
    await supervisor.start()
    await supervisor.stop()
    await supervisor.stop()
    assert log == ["start store", "start server", "stop server", "stop store"]


async def test_when_one_does_not_start_those_that_run_are_stopped() -> None:
    log: list[str] = []
    supervisor, _, _ = world(Step("store", log), Step("server", log, fails="start"), Step("last", log))
    with pytest.raises(OSError, match="server is broken"):
        await supervisor.start()
    assert log == ["start store", "start server", "stop store"]


async def test_one_that_fails_to_stop_is_reported_and_the_rest_stop() -> None:
    log: list[str] = []
    supervisor, _, heard = world(Step("store", log), Step("server", log, fails="stop"))
    await supervisor.start()
    await supervisor.stop()
    assert log[-2:] == ["stop server", "stop store"]
    assert [(each["signal"], each["where"]) for each in heard] == [("error.unexpected", "stop of server")]


async def test_one_that_hangs_is_cancelled_and_leaves_time_for_the_others() -> None:
    log: list[str] = []

    class Slow(Step):
        async def stop(self) -> None:
            # Suspends once: with no time left it would be cancelled here.
            await asyncio.sleep(0)
            await super().stop()

    supervisor, _, heard = world(Slow("store", log), Step("server", log, hangs="stop"), drain_seconds=0.4)
    await supervisor.start()
    began = asyncio.get_running_loop().time()
    await supervisor.stop()
    assert asyncio.get_running_loop().time() - began < 5
    assert log[-3:] == ["stop server", "cancelled server", "stop store"]
    assert [type(each["exception"]) for each in heard] == [TimeoutError]


async def test_a_request_from_inside_ends_serving_and_everything_is_announced() -> None:
    log: list[str] = []
    supervisor, telemetry, heard = world(Step("server", log))

    def ready() -> None:
        log.append("ready")
        supervisor.request_stop("disk full")
        supervisor.request_stop("later reason")

    await serve_until_signal(supervisor, telemetry=telemetry, on_ready=ready)
    assert log == ["start server", "ready", "stop server"]
    assert [each["signal"] for each in heard] == ["server.stopping", "server.stopped"]
    assert heard[0]["reason"] == "disk full"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_serving(number: signal.Signals) -> None:
    log: list[str] = []
    supervisor, telemetry, heard = world(Step("server", log))
    await serve_until_signal(supervisor, telemetry=telemetry, on_ready=lambda: os.kill(os.getpid(), number))
    assert log == ["start server", "stop server"]
    assert heard[0]["reason"] == number.name


async def test_a_signal_during_the_start_ends_the_start() -> None:
    log: list[str] = []
    server = Step("server", log, hangs="start")
    supervisor, telemetry, _ = world(Step("store", log), server)
    serving = asyncio.create_task(
        serve_until_signal(supervisor, telemetry=telemetry, on_ready=lambda: log.append("ready"))
    )
    await server.hanging.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    assert log == ["start store", "start server", "cancelled server", "stop store"]


async def test_a_second_signal_cuts_the_shutdown_short() -> None:
    log: list[str] = []
    store, server = Step("store", log, hangs="stop"), Step("server", log, hangs="stop")
    supervisor, telemetry, heard = world(store, server, drain_seconds=3600)

    serving = asyncio.create_task(
        serve_until_signal(supervisor, telemetry=telemetry, on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
    )
    await server.hanging.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    assert log[-4:] == ["stop server", "cancelled server", "stop store", "cancelled store"]
    assert [each["signal"] for each in heard] == ["server.stopping", "server.stopped"]


async def test_what_a_start_raises_comes_out_of_serving() -> None:
    log: list[str] = []
    supervisor, telemetry, heard = world(Step("server", log, fails="start"))
    with pytest.raises(OSError, match="server is broken"):
        await serve_until_signal(supervisor, telemetry=telemetry)
    assert heard == []


async def test_what_on_ready_raises_comes_out_after_everything_stopped() -> None:
    log: list[str] = []
    supervisor, telemetry, _ = world(Step("server", log))

    def fail() -> None:
        raise RuntimeError("cannot print")

    with pytest.raises(RuntimeError, match="cannot print"):
        await serve_until_signal(supervisor, telemetry=telemetry, on_ready=fail)
    assert log == ["start server", "stop server"]


async def test_cancelling_the_serving_stops_everything() -> None:
    log: list[str] = []
    supervisor, telemetry, _ = world(Step("server", log))
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_until_signal(supervisor, telemetry=telemetry, on_ready=ready.set))
    await ready.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert log == ["start server", "stop server"]


async def test_the_signals_handlers_are_given_back() -> None:
    supervisor, telemetry, _ = world()
    before = signal.getsignal(signal.SIGINT)
    await serve_until_signal(supervisor, telemetry=telemetry, on_ready=lambda: supervisor.request_stop("done"))
    assert signal.getsignal(signal.SIGINT) in (before, signal.default_int_handler)


def test_outside_the_main_thread_only_a_request_ends_serving() -> None:
    log: list[str] = []

    async def serve() -> None:
        supervisor, telemetry, _ = world(Step("server", log))
        await serve_until_signal(supervisor, telemetry=telemetry, on_ready=lambda: supervisor.request_stop("done"))

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    thread.join(10)
    assert log == ["start server", "stop server"]
