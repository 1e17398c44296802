"""The use cases behind the API, put together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from posthorn.api.app import build_app
from posthorn.api.services import ApiServices
from posthorn.clock import Clock
from posthorn.deliver.transport import AddressPolicy
from posthorn.engine.ports import Store
from posthorn.engine.records import Event
from posthorn.manage.appending import Accept, Appender
from posthorn.manage.applications import Applications
from posthorn.manage.automations import Automations
from posthorn.manage.connectors import Connectors
from posthorn.manage.endpoints import Endpoints
from posthorn.manage.event_types import EventTypes
from posthorn.manage.examples import Examples
from posthorn.manage.health import Health
from posthorn.manage.history import History
from posthorn.manage.idempotency import Idempotency
from posthorn.manage.nodes import Nodes
from posthorn.manage.people import People
from posthorn.manage.rehearsals import Rehearsals
from posthorn.manage.replay import Replay
from posthorn.manage.runs import Runs
from posthorn.manage.secrets import Secrets
from posthorn.manage.segments import Segments
from posthorn.manage.sources import Sources
from posthorn.manage.statistics import Statistics
from posthorn.manage.why import Whys
from posthorn.manage.workspaces import Workspaces
from posthorn.server.founding import Founding
from posthorn.telemetry import Telemetry

Publish = Callable[[str, str, str, bytes, str | None], Awaitable[Event]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How use cases append (a message of an application, or a unit of intake as it is), and try accounts out.

    `retention_days` says how long what they look at is kept.
    """

    publish: Publish
    accept: Accept
    connectors: Connectors
    retention_days: int


def build_api(
    *,
    store: Store,
    founding: Founding,
    policy: AddressPolicy,
    ways: Ways,
    sources: Sources,
    clock: Clock,
    telemetry: Telemetry,
    closing: asyncio.Event,
) -> Any:
    """Make the framework's application."""
    directory, key_ring = founding.directory, founding.key_ring
    appender = Appender(ways.accept, clock)
    automations = Automations(store, directory, clock, key_ring, policy, appender)
    services = ApiServices(
        api_keys=founding.api_keys,
        applications=Applications(store, directory, clock),
        endpoints=Endpoints(store, directory, clock, key_ring, policy),
        event_types=EventTypes(store, directory, clock),
        sources=sources,
        automations=automations,
        secrets=Secrets(store, directory, clock, key_ring),
        people=People(store, directory, appender),
        segments=Segments(store, directory, clock, appender),
        runs=Runs(store, directory, appender),
        rehearsals=Rehearsals(store, directory, automations, clock),
        connectors=ways.connectors,
        workspaces=Workspaces(store, directory, clock),
        history=History(store),
        replay=Replay(store, store, directory, clock),
        statistics=Statistics(store, clock),
        examples=Examples(directory, ways.publish),
        whys=Whys(store, store, directory, clock, retention_days=ways.retention_days),
        idempotency=Idempotency(store, clock, key_ring),
        health=Health(store),
        nodes=Nodes(store, clock),
        telemetry=telemetry,
    )
    return build_app(services, closing=closing)
