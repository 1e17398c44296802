"""The owner of all shards, which decides what waits in a served world."""

from typing import Any

import msgspec
from served import KEY_RING, World

from posthorn import ids
from posthorn.decide.deciding import Decider
from posthorn.decide.decision_loop import DecisionLoop
from posthorn.decide.rendering import OpenedSecrets
from posthorn.engine.cluster import Stage
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Append, Event


class DecidingNode:
    """Decides when it is told to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ownership = Ownership(
            store=world.store, node="node_a", clock=world.clock, telemetry=world.telemetry, stage=Stage.DECIDE
        )
        self._loop = DecisionLoop(
            store=world.store,
            ownership=self._ownership,
            decider=Decider(
                directory=world.directory, secrets=OpenedSecrets(world.directory, KEY_RING), key_ring=KEY_RING
            ),
            hints=Hints(),
            to_deliver=Hints(),
            clock=world.clock,
            telemetry=world.telemetry,
        )

    async def decide(self) -> None:
        """Decide all that waits."""
        await self._ownership.renew(["node_a"])
        while await self._loop._decide_batch():
            pass

    async def decide_some(self) -> int:
        """Decide a batch of what waits, and return how many that were."""
        await self._ownership.renew(["node_a"])
        return await self._loop._decide_batch()

    async def happen(
        self, event_type: str, user: str, data: Any = None, change: ProfileChange | None = None, *, decide: bool = True
    ) -> str:
        """Append an event of a person as intake does, and decide it."""
        now_ms = self._world.clock.now_ms()
        event = Event(
            id=ids.new_id(ids.EVENT, now_ms),
            workspace=self._world.workspace,
            type=event_type,
            occurred_ms=now_ms,
            received_ms=now_ms,
            user=user,
            payload=msgspec.json.encode(data if data is not None else {}),
            context=msgspec.json.encode(EventContext(changes=change)) if change is not None else None,
        )
        await self._world.store.append([Append(event=event, profile=user_profile(event.workspace, user))])
        if decide:
            await self.decide()
        return event.id
