"""The parts that serve together, made in the order in which they need each other."""

import asyncio
import random
from typing import Any

from posthorn import __version__, ids
from posthorn.decide.deciding import Decider
from posthorn.decide.decision_loop import DecisionLoop
from posthorn.decide.rendering import OpenedSecrets
from posthorn.deliver.attempting import Attempter
from posthorn.deliver.content import ContentFetcher
from posthorn.deliver.dispatcher import Dispatcher
from posthorn.deliver.settling import Settler
from posthorn.deliver.targets import CompiledLanes
from posthorn.deliver.transport import AddressPolicy, HttpTransport, Refusal, TransportOptions, parse_target
from posthorn.deliver.transport.resolver import SystemResolver
from posthorn.engine.cluster import Role, Stage
from posthorn.engine.directory import Directory
from posthorn.engine.fairqueue import WIDEST_WINDOW, FairQueue
from posthorn.engine.following import Follower
from posthorn.engine.hints import Hints
from posthorn.engine.membership import Membership, new_node
from posthorn.engine.ownership import Ownership
from posthorn.engine.shards import SHARDS
from posthorn.lifecycle import Startable
from posthorn.maintain.pruner import Pruner
from posthorn.manage.broker_rules import broker_gate
from posthorn.manage.connectors import Connectors
from posthorn.manage.operational import Operational
from posthorn.manage.sources import Sources
from posthorn.receive.braze.users import BrazeUsers
from posthorn.receive.bridges.bridges import Bridges
from posthorn.receive.cloudintake import CloudIntake
from posthorn.receive.events import Events
from posthorn.receive.inbox import Inbox
from posthorn.receive.intake import Intake
from posthorn.receive.messages import Messages
from posthorn.receive.routing import Routing
from posthorn.receive.sources import CompiledSources
from posthorn.receive.tracking.tracking import Tracking
from posthorn.server.asgi import Intakes, PrivateDoor, PublicDoor, authenticator
from posthorn.server.founding import Founding
from posthorn.server.limits import delivery_slots, raise_open_files
from posthorn.server.opening import OpenStore
from posthorn.server.usecases import Ways, build_api
from posthorn.settings import Settings
from posthorn.telemetry import Metrics, Telemetry

MOST_IDLE_CONNECTIONS = 2048


class Parts:
    """The parts that serve together, made in the order in which they need each other."""

    def __init__(
        self,
        *,
        opened: OpenStore,
        founding: Founding,
        settings: Settings,
        inbox_url: str,
        telemetry: Telemetry,
    ) -> None:
        self._inbox_url = inbox_url
        self._opened = opened
        self.store = store = opened.store
        clock = opened.clock
        self.founding = founding
        self.settings = settings
        self.clock = clock
        self.telemetry = telemetry
        self.metrics = Metrics(telemetry, version=__version__)
        self.directory: Directory = founding.directory
        self.closing = asyncio.Event()
        self.roles = {Role(role) for role in settings.roles}
        self.to_deliver = Hints(is_heard=Role.DELIVER in self.roles)
        self.to_decide = Hints(is_heard=Role.DECIDE in self.roles)
        self.intake = Intake(store=store, to_deliver=self.to_deliver, to_decide=self.to_decide, telemetry=telemetry)
        self.policy = AddressPolicy(allow=settings.allow_targets, own_inbox=_own_inbox(inbox_url))
        # As many connections may wait for their next request as an endpoint may have in flight.
        options = TransportOptions(
            max_idle_per_origin=WIDEST_WINDOW,
            max_idle_total=MOST_IDLE_CONNECTIONS,
            extra_ca_file=settings.extra_ca_file,
        )
        self.resolver = SystemResolver(clock=clock)  # shared by deliveries and bridges, closed with the transport
        self.transport = HttpTransport(policy=self.policy, options=options, resolver=self.resolver, clock=clock)
        self.secrets = OpenedSecrets(self.directory, founding.key_ring)
        node = ids.new_id(ids.NODE, clock.now_ms())
        self.follower = Follower(
            registry=store, directory=self.directory, clock=clock, telemetry=telemetry, is_shared=opened.is_shared
        )
        self.deciding = self._ownership(node, Stage.DECIDE)
        self.delivering = self._ownership(node, Stage.DELIVER)
        self.membership = self._membership(node)
        self.intakes = self._intakes()
        self.bridges = self._bridges(node) if Role.RECEIVE in self.roles else None

    def _intakes(self) -> Intakes:
        shared: dict[str, Any] = {
            "intake": self.intake,
            "directory": self.directory,
            "clock": self.clock,
            "catch_up": self.follower.catch_up,
        }
        by_key = shared | {"authenticate": authenticator(self.founding.api_keys)}
        return Intakes(
            messages=Messages(routing=Routing(self.directory), **by_key),
            events=Events(**by_key),
            cloud=CloudIntake(**by_key),
            tracking=Tracking(moves_users=True, **shared),
            users=BrazeUsers(**by_key),
        )

    def _membership(self, node: str) -> Membership:
        now_ms = self.clock.now_ms()
        roles = [role for role in Role if role in self.roles]
        return Membership(
            cluster=self.store,
            node=new_node(node, version=__version__, now_ms=now_ms, roles=roles),
            ownerships=(self.deciding, self.delivering),
            clock=self.clock,
            telemetry=self.telemetry,
            tempo=self._opened.tempo,
        )

    def _bridges(self, node: str) -> Bridges:
        return Bridges(
            intake=self.intake,
            directory=self.directory,
            key_ring=self.founding.key_ring,
            permits=broker_gate(self.policy, self.resolver),
            clock=self.clock,
            telemetry=self.telemetry,
            name_of_node=node,
        )

    def _ownership(self, node: str, stage: Stage) -> Ownership:
        return Ownership(
            store=self.store,
            node=node,
            clock=self.clock,
            telemetry=self.telemetry,
            stage=stage,
            tempo=self._opened.tempo,
        )

    def services(self) -> list[Startable]:
        """Make the background roles in the order of their start."""
        workers: list[Startable] = []
        # Ownership asks who is busy, so the loops are made before the first lease is won.
        if Role.DELIVER in self.roles:
            dispatcher = self._dispatcher()
            self.delivering.busy = dispatcher.busy_shards
            workers.append(dispatcher)
        if Role.DECIDE in self.roles:
            decision_loop = self._decision_loop()
            self.deciding.busy = decision_loop.busy_shards
            workers.append(decision_loop)
        if self.bridges is not None:
            workers.append(self.bridges)
        pruner = Pruner(
            store=self.store,
            retention_days=self.settings.retention_days,
            clock=self.clock,
            telemetry=self.telemetry,
            is_in_charge=lambda: self.membership.is_first,
        )
        return [self.follower, self.membership, *workers, pruner]

    def private_door(self) -> PrivateDoor:
        """Make what answers at the private door."""
        api = build_api(
            store=self.store,
            founding=self.founding,
            policy=self.policy,
            ways=Ways(
                publish=self.intakes.messages.publish,
                accept=self.intake.accept,
                connectors=Connectors(transport=self.transport, secrets=self.secrets, clock=self.clock),
                retention_days=self.settings.retention_days,
            ),
            sources=self._sources(),
            clock=self.clock,
            telemetry=self.telemetry,
            closing=self.closing,
        )
        return PrivateDoor(
            intakes=self.intakes,
            api=api,
            metrics=self.metrics,
            membership=self.membership,
            ownerships=(self.deciding, self.delivering),
            catch_up=self.follower.catch_up,
            store_figures=self.store.figures,
        )

    def _sources(self) -> Sources:
        return Sources(
            self.store,
            self.directory,
            self.clock,
            self.founding.key_ring,
            self._inbox_url,
            self.policy,
            bridge_state=self.bridges.state if self.bridges is not None else None,
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
                catch_up=self.follower.catch_up,
            ),
            Tracking(intake=self.intake, directory=self.directory, clock=self.clock, catch_up=self.follower.catch_up),
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
            ownership=self.delivering,
            attempter=Attempter(
                transport=self.transport,
                lanes=CompiledLanes(self.directory, self.founding.key_ring, self.follower.catch_up),
                directory=self.directory,
                key_ring=self.founding.key_ring,
                clock=self.clock,
                random=random.random,
                share=lambda: max(len(self.delivering.epochs), 1) / SHARDS,
            ),
            settler=Settler(store=self.store, telemetry=self.telemetry, on_gone=operational.endpoint_gone),
            hints=self.to_deliver,
            queue=FairQueue(delivery_slots(raise_open_files())),
            clock=self.clock,
            telemetry=self.telemetry,
        )

    def _decision_loop(self) -> DecisionLoop:
        key_ring = self.founding.key_ring
        secrets = self.secrets
        contents = ContentFetcher(
            transport=self.transport,
            credential=lambda workspace, name: secrets.values(workspace, frozenset({name})).get(name),
            clock=self.clock,
            telemetry=self.telemetry,
        )
        return DecisionLoop(
            store=self.store,
            ownership=self.deciding,
            decider=Decider(directory=self.directory, secrets=secrets, key_ring=key_ring),
            hints=self.to_decide,
            to_deliver=self.to_deliver,
            clock=self.clock,
            telemetry=self.telemetry,
            fetch=contents.fetch,
        )


def _own_inbox(inbox_url: str) -> tuple[str, int] | None:
    """Return host and port of our own inbox addresses, which nothing may be sent to: it would come in again."""
    target = parse_target(inbox_url)
    return None if isinstance(target, Refusal) else (target.host, target.port)
