"""The real thing and the reference model side by side: both go through the same history, and are compared."""

from typing import Any

import msgspec
from exact_judge import Judge
from exact_nodes import Died, Node, SteadyIds, SteppingClock
from random_histories import CAPS, SEGMENTS, Answer, Cancel, Decide, Edit, Happen, Merge, Move, Pass, Switch
from random_rules import varied
from reference_model import Model

from posthorn import ids
from posthorn.engine.cluster import Stage
from posthorn.engine.flows import Eligibility, EventTrigger, Flow, SendStep
from posthorn.engine.listening import call_type, changed_type
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.ports import Store
from posthorn.engine.profiles import automation_profile, profile_of
from posthorn.engine.records import GONE_PAYLOAD, Append, DeliveryState, DeliveryWork, Trigger
from posthorn.engine.resources import Automation, AutomationVersion, Cap, Segment, Workspace
from posthorn.engine.settlements import delivered
from posthorn.engine.shards import SHARDS
from posthorn.testing.factories import WORKSPACE, an_attempt, an_event

Json = dict[str, Any]
_LAPSE_MS = 16_000  # longer than a lease
_LOOK_MS = 61_000  # then a node looks at its whole queue again
_MOST_BATCHES = 300
ZONE = "Europe/Berlin"


class ExactWorld:
    """Two nodes, one store, one model."""

    def __init__(self, store: Store, clock: SteppingClock, rules: list[Json], model: type[Model] = Model) -> None:
        self.store = store
        self.clock = clock
        self.rules = {rule["id"]: rule for rule in rules}
        self.model = model(prefix=f"{WORKSPACE}/user/", time_zone=ZONE, caps=CAPS, segments=SEGMENTS)
        self.judge = Judge(self.model)
        self._ids = SteadyIds()
        self._names = 0
        self._coming: list[Append] = []
        self.nodes: list[Node] = []

    async def begin(self) -> None:
        """Store what is configured and start the nodes."""
        fields = {"workspace": WORKSPACE, "created_ms": 0, "updated_ms": 0}
        caps = tuple(msgspec.convert(cap, Cap) for cap in CAPS)
        await self.store.insert(Workspace(id=WORKSPACE, name="w", time_zone=ZONE, caps=caps, **fields))
        for name, conditions in SEGMENTS.items():
            await self.store.insert(Segment(id=name, uid=name[4:], name=name, conditions=conditions, **fields))
        for rule in self.rules.values():
            await self.store.insert(_real(rule))
            self.model.publish(rule)
        self.nodes = [await self._node(), await self._node()]
        await self._share()

    async def renew_rules(self, rules: list[Json]) -> None:
        """Pause all automations and publish others."""
        for number in range(len(self.rules)):
            await self._edit(Edit(number, 0, enabled=False))
        self.rules = {rule["id"]: rule for rule in rules}
        for rule in rules:
            await self.store.insert(_real(rule))
            self.model.publish(rule)
        for node in self.nodes:
            await node.directory.refresh(self.store)

    async def _node(self) -> Node:
        self._names += 1
        node = Node(f"node_{self._names}", self.store, self.clock, self._ids.draw, self.judge.committed)
        await node.directory.load(self.store)
        return node

    async def _share(self) -> None:
        """Let both nodes have half of the shards, for a while."""
        if all(len(node.ownership.epochs) == SHARDS // 2 for node in self.nodes):
            return
        names = [node.name for node in self.nodes]
        for node in (*self.nodes, *self.nodes):
            await node.ownership.renew(names)

    async def go_through(self, move: Move) -> None:  # noqa: C901 - one case for each kind of move
        """Make one move. Events that come one after the other come in together."""
        if not isinstance(move, Happen | Merge):
            await self._come_in()
        match move:
            case Happen(type="call"):
                await self._call(move)
            case Happen():
                changes = msgspec.convert(move.changes, ProfileChange) if move.changes else None
                data = {"n": move.n, "k": move.k}
                await self._append(f"u{move.user}" if move.user >= 0 else "", move.type, data, changes, move.late_ms)
            case Merge():
                changes = ProfileChange(merge_into=f"u{move.into}")
                await self._append(f"u{move.user}", "alias", {"n": 0, "k": "x"}, changes, 0)
            case Cancel():
                await self._cancel(move.number)
            case Pass():
                self.clock.go_on(move.ms)
            case Decide():
                await self._decide(move)
            case Edit():
                await self._edit(move)
            case Answer():
                await self._answer(move)
            case Switch():
                await self._switch(move)

    async def _call(self, move: Happen) -> None:
        """Let somebody into an automation that is called, as the API does when it is enabled."""
        for rule in self.rules.values():
            if rule["flow"]["triggers"][0]["type"] == "call" and rule["enabled"] and move.user >= 0:
                await self._append(f"u{move.user}", call_type(rule["id"]), {"n": move.n, "k": move.k}, None, 0)

    async def _cancel(self, number: int) -> None:
        """Cancel one of the runs that wait, if there are any."""
        waiting = [run for run in self.judge.runs.values() if run.state == "active"]
        if waiting:
            run = waiting[number % len(waiting)]
            line = self.judge.lines.get(run.id or "")
            await self._append(run.user, "run.cancelled", {}, None, 0, cancels=(run.id or "",), line=line)
            await self._come_in()

    async def _answer(self, move: Answer) -> None:
        """End one of the deliveries whose answers are awaited, if there are any."""
        if not self.judge.asked:
            return
        name = list(self.judge.asked)[move.number % len(self.judge.asked)]
        delivery = self.judge.asked.pop(name)
        if not move.status:
            self.judge.answers[name] = {"state": "cancelled", "status": 0}
            assert await self.store.cancel(name, "by hand")
            return
        now_ms = self.clock.now_ms()
        state = DeliveryState.DELIVERED if move.status == 200 else DeliveryState.EXHAUSTED
        self.judge.answers[name] = {"state": state.value, "status": move.status}
        if move.status == 200:
            self.judge.received[name] = now_ms
        until_ms = now_ms + _LAPSE_MS
        leases = await self.store.lease("sender", Stage.DELIVER, now_ms=now_ms, until_ms=until_ms, most=SHARDS)
        epochs = {lease.shard: lease.epoch for lease in leases}
        fields = {"id": name, "shard": delivery.shard, "endpoint": delivery.endpoint, "event": delivery.event}
        work = DeliveryWork(
            **fields,
            due_ms=delivery.due_ms,
            attempts=0,
            step=0,
            trigger=Trigger.SCHEDULED,
            payload=GONE_PAYLOAD,
            rendered=delivery.rendered,
        )
        attempt = an_attempt(work, state=state, response_status=move.status, response_body=None, started_ms=now_ms)
        assert await self.store.settle([delivered(work, epochs[work.shard], attempt)]) == [True]

    async def _append(
        self,
        user: str,
        kind: str,
        data: Json,
        changes: ProfileChange | None,
        late_ms: int,
        cancels: tuple[str, ...] = (),
        line: str | None = None,
    ) -> None:
        now_ms = self.clock.now_ms()
        identifier = self._ids.draw(ids.EVENT, now_ms)
        context = EventContext(changes=changes, cancels=cancels)
        event = an_event(
            id=identifier,
            type=kind,
            user=user or None,
            payload=msgspec.json.encode(data),
            received_ms=now_ms,
            occurred_ms=now_ms - late_ms,
            context=msgspec.json.encode(context),
        )
        known = self.nodes[0].directory  # as that of the node where it comes in
        profile = line or profile_of(known, WORKSPACE, kind, user or None, identifier)
        self._coming.append(Append(event=event, profile=profile))

    async def _come_in(self) -> None:
        for unit in self._coming:
            if unit.event is not None and unit.profile is not None:
                self.judge.appended(unit.event)
        await self.store.append(self._coming)
        self._coming = []

    async def _decide(self, move: Decide) -> None:
        await self._share()
        node = self.nodes[move.node]
        other = self.nodes[1 - move.node]
        node.store.meanwhile = (lambda: self._lose(move.node)) if move.accident == "loses shards" else other.decide
        try:
            await node.decide(move.room, move.accident)
        except Died:
            await self._replace(move.node)
        if move.accident == "loses shards":
            await self._replace(move.node)

    async def _lose(self, number: int) -> None:
        """Let the other node take the shards over and decide what this one is deciding."""
        other = self.nodes[1 - number]
        self.clock.go_on(_LAPSE_MS)
        await other.ownership.renew([other.name])
        while await other.decide():
            pass

    async def _replace(self, number: int) -> None:
        """Start a new process in place of one that died, when its leases are over."""
        self.clock.go_on(_LAPSE_MS)
        self.nodes[number] = await self._node()
        other = self.nodes[1 - number]
        await other.ownership.renew([other.name])
        await self._share()

    async def _edit(self, move: Edit) -> None:
        if not self.rules:
            return
        name = list(self.rules)[move.automation % len(self.rules)]
        old = self.rules[name]
        new = varied(old, move.variation, move.enabled)
        fields = {"workspace": WORKSPACE, "parent": name, "created_ms": 0, "updated_ms": 0}
        number = str(old["version"])
        await self.store.insert(
            AutomationVersion(id=f"autov_{name}_{number}", uid=number, automation=_real(old), **fields)
        )
        self.model.publish(new)
        await self._put(new, is_over=new["flow"].get("inFlight") == "exit")

    async def _switch(self, move: Switch) -> None:
        if self.rules:
            old = self.rules[list(self.rules)[move.automation % len(self.rules)]]
            self.model.switch(old["id"])
            await self._put(old | {"enabled": not old["enabled"]}, is_over=False)

    async def _put(self, new: Json, *, is_over: bool) -> None:
        """Store an automation as it is now, and tell deciding what concerns its runs, as the API does."""
        name = new["id"]
        old, self.rules[name] = self.rules[name], new
        await self.store.replace(_real(new))
        for node in self.nodes:
            await node.directory.refresh(self.store)
        is_resumed = new["enabled"] and not old["enabled"]
        if old["send"] is None and (is_resumed or is_over):  # those that were held go on, those of a version end
            now_ms = self.clock.now_ms()
            told = an_event(
                id=self._ids.draw(ids.EVENT, now_ms), type=changed_type(name), user=None, received_ms=now_ms
            )
            await self.store.append([Append(event=told, profile=automation_profile(WORKSPACE, name))])

    async def settle_down(self) -> None:
        """Decide all that waits, until nothing waits for the next days but what begins anew by itself."""
        await self._come_in()
        for hours in (0, 0.02, 0.1, 1, 1, 1, 2, 24, 24):
            self.clock.go_on(int(hours * 3_600_000) + _LOOK_MS)
            await self.drain()
        self.clock.go_on(5_000)
        await self.drain()
        await self.judge.compare(self.store, self.clock.now_ms())

    async def drain(self) -> None:
        await self._share()
        for _ in range(_MOST_BATCHES):
            if not sum([await node.decide() for node in self.nodes]):
                return
        raise AssertionError("deciding does not come to an end")


def _real(rule: Json) -> Automation:
    """Write a rule as the resource that it would be stored as; one that sends at once in the simplest form."""
    is_simple = rule["send"] is not None
    trigger = rule["flow"]["triggers"][0]
    return Automation(
        id=rule["id"],
        workspace=WORKSPACE,
        created_ms=0,
        updated_ms=0,
        name=rule["id"],
        enabled=rule["enabled"],
        version=rule["version"],
        conditions=rule["conditions"],
        eligibility=msgspec.convert(rule["eligibility"], Eligibility),
        trigger=EventTrigger(event_type=trigger["eventType"]) if is_simple else None,
        send=SendStep(url=rule["send"]) if is_simple else None,
        flow=msgspec.convert(rule["flow"], Flow) if not is_simple else None,
    )
