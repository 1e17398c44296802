"""The composition root: settings in, a running Posthorn out. The only place that knows every part."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from posthorn import __version__
from posthorn.engine.cluster import Role
from posthorn.engine.membership import Leaving
from posthorn.lifecycle import Supervisor, serve_until_signal
from posthorn.server.catalogue import use_connectors
from posthorn.server.doors import Door, bind
from posthorn.server.founding import Founding, found
from posthorn.server.limits import settle_memory, share_the_interpreter
from posthorn.server.opening import held_for_workers, open_store
from posthorn.server.parts import Parts
from posthorn.server.workers import run_workers
from posthorn.settings import Settings
from posthorn.settings.declared import LogFormat, url_of
from posthorn.storage.sqlite.connection import FolderLock
from posthorn.telemetry import StandardLogBridge, Telemetry, subscribe_logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a start says of itself once both doors are open."""

    api_url: str
    inbox_url_base: str
    api_key: str | None  #: only when this start made it
    workspace: str
    data: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The bound sockets of both doors. A node that does not receive has no public one."""

    private: socket.socket
    public: socket.socket | None

    @classmethod
    def bind(cls, settings: Settings) -> "Listeners":
        """Bind what the settings name. Raises StartRefused."""
        private = bind(settings.host, settings.port, "private")
        receives = Role.RECEIVE in settings.roles
        public = bind(settings.host, settings.inbox_port, "public") if receives else None
        return cls(private=private, public=public)

    def api_url(self, settings: Settings) -> str:
        """Return the private door's address on this machine."""
        return url_of(settings.host, self.private.getsockname()[1])

    def inbox_url(self, settings: Settings) -> str:
        """Return the public door's address as the world reaches it, also where another node keeps that door."""
        return settings.inbox_url(self.public.getsockname()[1] if self.public is not None else settings.inbox_port)


def serve(settings: Settings, *, on_ready: Callable[[Ready], None] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code. Raises StartRefused before anything is answered."""
    telemetry = Telemetry()
    subscribe_logs(telemetry, level=settings.log_level, json=settings.log_format is LogFormat.JSON)
    logging.getLogger().addHandler(StandardLogBridge(telemetry))
    use_connectors(settings.connectors)
    listeners = Listeners.bind(settings)
    if settings.workers > 1:
        return _serve_by_workers(settings, telemetry, listeners, on_ready)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, telemetry, listeners, on_ready))
    return 0


def _serve_by_workers(
    settings: Settings, telemetry: Telemetry, listeners: Listeners, on_ready: Callable[[Ready], None] | None
) -> int:
    """Prepare the store alone, then let forked workers serve; this process only watches them."""

    def work(number: int, ready: Callable[[], None]) -> int:  # noqa: ARG001 - all workers do the same
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, telemetry, listeners, lambda _: ready(), shared=True))
        return 0

    with held_for_workers(settings) as lock:
        # A loop of the standard library, which leaves nothing behind that must not be forked.
        prepared = asyncio.run(_prepare(settings, telemetry, listeners, lock))

        def all_ready() -> None:
            if on_ready is not None:
                on_ready(prepared)

        return run_workers(settings.workers, work, on_ready=all_ready, telemetry=telemetry)


async def _prepare(settings: Settings, telemetry: Telemetry, listeners: Listeners, lock: FolderLock | None) -> Ready:
    opened = await open_store(settings, telemetry, lock=lock)
    try:
        return _ready(await found(opened.store, settings, opened.clock), settings, listeners)
    finally:
        await opened.store.close()


async def _serve(
    settings: Settings,
    telemetry: Telemetry,
    listeners: Listeners,
    on_ready: Callable[[Ready], None] | None,
    *,
    shared: bool = False,
) -> None:
    opened = await open_store(settings, telemetry, shared=shared)
    try:
        founding = await found(opened.store, settings, opened.clock)
        inbox_url = listeners.inbox_url(settings)
        parts = Parts(opened=opened, founding=founding, settings=settings, inbox_url=inbox_url, telemetry=telemetry)
        services = [*parts.services(), *_doors(parts, settings, listeners), Leaving(parts.membership)]
        supervisor = Supervisor(services, telemetry=telemetry, drain_seconds=settings.drain_seconds)

        def ready() -> None:
            settle_memory()
            share_the_interpreter()
            ready = _ready(founding, settings, listeners)
            telemetry.emit(
                "server.started",
                version=__version__,
                api_url=ready.api_url,
                inbox_url=inbox_url,
                data=str(settings.data),
            )
            if on_ready is not None:
                on_ready(ready)

        await serve_until_signal(supervisor, telemetry=telemetry, on_ready=ready)
        await parts.transport.close()
    finally:
        await opened.store.close()


def _doors(parts: Parts, settings: Settings, listeners: Listeners) -> list[Door]:
    patience = settings.drain_seconds / 2
    doors = [
        Door(
            name="private",
            application=parts.private_door(),
            listener=listeners.private,
            patience_seconds=patience,
            closing=parts.closing,
        )
    ]
    if listeners.public is not None:
        public = parts.public_door()
        doors.append(Door(name="public", application=public, listener=listeners.public, patience_seconds=patience))
    return doors


def _ready(founding: Founding, settings: Settings, listeners: Listeners) -> Ready:
    return Ready(
        api_url=listeners.api_url(settings),
        inbox_url_base=listeners.inbox_url(settings),
        api_key=founding.new_api_key,
        workspace=founding.workspace,
        data=settings.data,
    )
