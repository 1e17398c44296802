"""Nodes that decide over one store, and the accidents that happen to them."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from random import Random
from typing import Any

from posthorn import ids
from posthorn.decide.deciding import Decider
from posthorn.decide.decision_loop import DecisionLoop
from posthorn.decide.memory import Draw
from posthorn.decide.rendering import OpenedSecrets
from posthorn.engine.cluster import ALONE, Stage
from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.ports import Store
from posthorn.engine.records import Decided, DecisionWork
from posthorn.engine.runs import Timer
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import START_MS
from posthorn.vault import KeyRing


class SteppingClock:
    """A clock that tests move, also a little back: only its wall time, as on a machine whose time is set."""

    def __init__(self) -> None:
        self._now_ms = START_MS
        self._passed_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._passed_ms / 1000

    def go_on(self, ms: int) -> None:
        self._now_ms += ms
        self._passed_ms += max(ms, 0)


class SteadyIds:
    """Draws ids that are random and yet the same ones each time that a history is gone through."""

    def __init__(self) -> None:
        self._random = Random(0)

    def draw(self, prefix: str, at_ms: int) -> str:
        return f"{prefix}_{ids._base62(ids._stamp(at_ms) << 120 | self._random.getrandbits(120))}"


class Died(BaseException):
    """The process is gone. Nobody catches that."""


class WatchedStore:
    """A node's connection to the store: it tells what was committed, and breaks when it is told to."""

    def __init__(self, store: Store, clock: SteppingClock, committed: Any) -> None:
        self._store = store
        self._clock = clock
        self._committed = committed
        self._taken_ms = 0
        self.accident = ""
        self.meanwhile: Any = None  #: what happens at other nodes between deciding and settling

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        self._taken_ms = now_ms
        return await self._store.take_decisions(shards, room=room, now_ms=now_ms, held=held, since_ms=since_ms)

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        accident, self.accident = self.accident, ""
        if accident == "store away":
            raise StoreUnavailable("locked")
        if accident == "dies before":
            raise Died
        if accident in ("loses shards", "meanwhile"):
            await self.meanwhile()
        applied = await self._store.settle_decisions(decided)
        for one, is_applied in zip(decided, applied, strict=True):
            if is_applied:
                self._committed(one, self._taken_ms)
        if accident == "dies after":
            raise Died
        return applied


class Node:
    """A process that decides. It learns all it knows from the store."""

    def __init__(self, name: str, store: Store, clock: SteppingClock, draw: Draw, committed: Any) -> None:
        self.name = name
        self.store = WatchedStore(store, clock, committed)
        self.directory = Directory()
        telemetry, key_ring = Telemetry(strict=True), KeyRing([b"k" * 32])
        self.unexpected: list[Any] = []
        telemetry.subscribe(self._hear)
        self.ownership = Ownership(
            store=store, node=name, clock=clock, telemetry=telemetry, stage=Stage.DECIDE, tempo=ALONE
        )
        secrets = OpenedSecrets(self.directory, key_ring)
        self.loop = DecisionLoop(
            store=self.store,  # type: ignore[arg-type]  # it is one, by delegation
            ownership=self.ownership,
            decider=Decider(directory=self.directory, secrets=secrets, key_ring=key_ring, draw=draw),
            hints=Hints(),
            to_deliver=Hints(),
            clock=clock,
            telemetry=telemetry,
        )

    def _hear(self, name: str, facts: Any) -> None:
        if name == "error.unexpected":
            self.unexpected.append(facts["exception"])

    async def decide(self, room: int = 256, accident: str = "") -> int:
        """Decide one batch."""
        self.store.accident = accident
        self.loop._room = room
        try:
            decided = await self.loop._decide_batch()
        except StoreUnavailable:
            decided = 0
        self.store.accident = ""
        if self.unexpected:
            raise self.unexpected[0]
        return decided
