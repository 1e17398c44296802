"""The composition root: settings in, a running Posthorn out. The only place that knows every part."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from posthorn import __version__
from posthorn.clock import SystemClock
from posthorn.lifecycle import Supervisor, serve_until_signal
from posthorn.server.doors import Door, bind
from posthorn.server.founding import Founding, found
from posthorn.server.limits import settle_memory, share_the_interpreter
from posthorn.server.parts import Parts
from posthorn.settings import Settings
from posthorn.settings.declared import LogFormat, url_of
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.telemetry import StandardLogBridge, Telemetry, subscribe_logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a start says of itself once both doors are open."""

    api_url: str
    inbox_url_base: str
    api_key: str | None  #: only when this start made it
    workspace: str
    data: Path


def serve(settings: Settings, *, on_ready: Callable[[Ready], None] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code. Raises StartRefused before anything is answered."""
    telemetry = Telemetry()
    subscribe_logs(telemetry, level=settings.log_level, json=settings.log_format is LogFormat.JSON)
    logging.getLogger().addHandler(StandardLogBridge(telemetry))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, telemetry, on_ready))
    return 0


async def _serve(settings: Settings, telemetry: Telemetry, on_ready: Callable[[Ready], None] | None) -> None:
    clock = SystemClock()
    private = bind(settings.host, settings.port, "private")
    public = bind(settings.host, settings.inbox_port, "public")
    api_url = url_of(settings.host, private.getsockname()[1])
    inbox_url = settings.inbox_url(public.getsockname()[1])
    store = await SqliteStore.open(settings.data, clock)
    try:
        founding = await found(store, settings, clock)
        parts = Parts(
            store=store, founding=founding, settings=settings, inbox_url=inbox_url, clock=clock, telemetry=telemetry
        )
        services = [*parts.services(), *_doors(parts, settings, private, public)]
        supervisor = Supervisor(services, telemetry=telemetry, drain_seconds=settings.drain_seconds)

        def ready() -> None:
            settle_memory()
            share_the_interpreter()
            telemetry.emit(
                "server.started", version=__version__, api_url=api_url, inbox_url=inbox_url, data=str(settings.data)
            )
            if on_ready is not None:
                on_ready(_ready(founding, settings, api_url, inbox_url))

        await serve_until_signal(supervisor, telemetry=telemetry, on_ready=ready)
        await parts.transport.close()
    finally:
        store.close()


def _doors(parts: Parts, settings: Settings, private: socket.socket, public: socket.socket) -> list[Door]:
    patience = settings.drain_seconds / 2
    return [
        Door(
            name="private",
            application=parts.private_door(),
            listener=private,
            patience_seconds=patience,
            closing=parts.closing,
        ),
        Door(name="public", application=parts.public_door(), listener=public, patience_seconds=patience),
    ]


def _ready(founding: Founding, settings: Settings, api_url: str, inbox_url: str) -> Ready:
    return Ready(
        api_url=api_url,
        inbox_url_base=inbox_url,
        api_key=founding.new_api_key,
        workspace=founding.workspace,
        data=settings.data,
    )
