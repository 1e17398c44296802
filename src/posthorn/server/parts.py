"""The parts that serve together, made in the order in which they need each other."""

import asyncio
import random

from posthorn import __version__, ids
from posthorn.clock import Clock
from posthorn.decide.deciding import Decider
from posthorn.decide.decision_loop import DecisionLoop
from posthorn.decide.rendering import OpenedSecrets
from posthorn.deliver.attempting import Attempter
from posthorn.deliver.dispatcher import Dispatcher
from posthorn.deliver.settling import Settler
from posthorn.deliver.targets import CompiledLanes
from posthorn.deliver.transport import AddressPolicy, HttpTransport, Refusal, TransportOptions, parse_target
from posthorn.engine.directory import Directory
from posthorn.engine.fairqueue import WIDEST_WINDOW, FairQueue
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.lifecycle import Startable
from posthorn.maintain.pruner import Pruner
from posthorn.manage.access import ApiKeys
from posthorn.manage.operational import Operational
from posthorn.receive.events import Events
from posthorn.receive.inbox import Inbox
from posthorn.receive.intake import Intake
from posthorn.receive.messages import Messages
from posthorn.receive.routing import Routing
from posthorn.receive.sources import CompiledSources
from posthorn.server.asgi import PrivateDoor, PublicDoor, authenticator
from posthorn.server.founding import Founding
from posthorn.server.limits import delivery_slots, raise_open_files
from posthorn.server.usecases import build_api
from posthorn.settings import Settings
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.telemetry import Metrics, Telemetry

MOST_IDLE_CONNECTIONS = 2048


class Parts:
    """The parts that serve together, made in the order in which they need each other."""

    def __init__(
        self,
        *,
        store: SqliteStore,
        founding: Founding,
        settings: Settings,
        inbox_url: str,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._inbox_url = inbox_url
        self.store = store
        self.founding = founding
        self.settings = settings
        self.clock = clock
        self.telemetry = telemetry
        self.metrics = Metrics(telemetry, version=__version__)
        self.directory: Directory = founding.directory
        self.closing = asyncio.Event()
        self.to_deliver, self.to_decide = Hints(), Hints()
        self.intake = Intake(store=store, to_deliver=self.to_deliver, to_decide=self.to_decide, telemetry=telemetry)
        self.policy = AddressPolicy(allow=settings.allow_targets, own_inbox=_own_inbox(inbox_url))
        # As many connections may wait for their next request as an endpoint may have in flight.
        options = TransportOptions(
            max_idle_per_origin=WIDEST_WINDOW,
            max_idle_total=MOST_IDLE_CONNECTIONS,
            extra_ca_file=settings.extra_ca_file,
        )
        self.transport = HttpTransport(policy=self.policy, options=options, clock=clock)
        node = ids.new_id(ids.NODE, clock.now_ms())
        self.ownership = Ownership(store=store, node=node, clock=clock, telemetry=telemetry)
        api_keys: ApiKeys = founding.api_keys
        authenticate = authenticator(api_keys)
        self.messages = Messages(
            intake=self.intake,
            directory=self.directory,
            routing=Routing(self.directory),
            authenticate=authenticate,
            clock=clock,
        )
        self.events = Events(intake=self.intake, directory=self.directory, authenticate=authenticate, clock=clock)

    def services(self) -> list[Startable]:
        """Make the background roles in the order of their start."""
        return [
            self.ownership,
            self._dispatcher(),
            self._decision_loop(),
            Pruner(
                store=self.store,
                retention_days=self.settings.retention_days,
                clock=self.clock,
                telemetry=self.telemetry,
            ),
        ]

    def private_door(self) -> PrivateDoor:
        """Make what answers at the private door."""
        api = build_api(
            store=self.store,
            founding=self.founding,
            policy=self.policy,
            publish=self.messages.publish,
            inbox_url=self._inbox_url,
            clock=self.clock,
            telemetry=self.telemetry,
            closing=self.closing,
        )
        return PrivateDoor(
            messages=self.messages,
            events=self.events,
            api=api,
            metrics=self.metrics,
            ownership=self.ownership,
            store_figures=self.store.figures,
        )

    def public_door(self) -> PublicDoor:
        """Make what answers at the public door."""
        return PublicDoor(
            Inbox(
                intake=self.intake,
                sources=CompiledSources(self.directory, self.founding.key_ring),
                directory=self.directory,
                clock=self.clock,
                telemetry=self.telemetry,
            )
        )

    def _dispatcher(self) -> Dispatcher:
        operational = Operational(
            registry=self.store,
            directory=self.directory,
            accept=self.intake.accept,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        return Dispatcher(
            store=self.store,
            ownership=self.ownership,
            attempter=Attempter(
                transport=self.transport,
                lanes=CompiledLanes(self.directory, self.founding.key_ring),
                directory=self.directory,
                key_ring=self.founding.key_ring,
                clock=self.clock,
                random=random.random,
            ),
            settler=Settler(store=self.store, telemetry=self.telemetry, on_gone=operational.endpoint_gone),
            hints=self.to_deliver,
            queue=FairQueue(delivery_slots(raise_open_files())),
            clock=self.clock,
            telemetry=self.telemetry,
        )

    def _decision_loop(self) -> DecisionLoop:
        key_ring = self.founding.key_ring
        return DecisionLoop(
            store=self.store,
            ownership=self.ownership,
            directory=self.directory,
            decider=Decider(
                secrets=OpenedSecrets(self.directory, key_ring), key_ring=key_ring, now_ms=self.clock.now_ms
            ),
            hints=self.to_decide,
            to_deliver=self.to_deliver,
            clock=self.clock,
            telemetry=self.telemetry,
        )


def _own_inbox(inbox_url: str) -> tuple[str, int] | None:
    """Return host and port of our own inbox addresses, which nothing may be sent to: it would come in again."""
    target = parse_target(inbox_url)
    return None if isinstance(target, Refusal) else (target.host, target.port)
